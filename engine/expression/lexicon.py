"""English words and phrases, what they say of a feeling, and how strongly: a list of our own.

Strengths are of the plain word, 0 to 1; degree words change them. Spelled as in text, in lower case.
"""

from __future__ import annotations

from collections.abc import Mapping

# emotion -> strength -> words. A word's plain endings (-s, -ly, -ness, -ing, -ed) are found by themselves.
WORDS: Mapping[str, Mapping[float, str]] = {
    "happy": {
        0.35: "content contented satisfied pleasant relieved relief hopeful optimistic encouraged "
        "soothed reassured amused amusing amusement comfortable upbeat agreeable peaceful "
        "grateful thankful thanks appreciative gratitude smirk fond",
        0.55: "happy glad pleased cheerful cheery friendly warm warmly smile smiling grin grinning "
        "joking joke funny fun playful proud pride lovely nice wonderful great love loving enjoy "
        "enjoying enjoyable enjoyment welcome welcoming bright sunny good laugh "
        "congratulation congratulations lucky yay hooray chuckle giggle sweet happily like "
        "enthusiastic eager lighthearted merry positive affectionate tender delightful celebrate "
        "celebration success successful hope won win winning",
        0.75: "joy joyful joyous delighted delight laughing laughter thrilled excited exciting "
        "excitement beaming fantastic brilliant awesome radiant jolly gleeful glee exhilarated "
        "jubilant triumphant amazing marvellous marvelous adore elation",
        0.95: "ecstatic elated overjoyed euphoric blissful bliss rapturous jubilation ecstasy euphoria",
    },
    "sad": {
        0.35: "wistful blue low subdued moody sorry regret regretful regretting disappointed "
        "disappointing disappointment let-down discouraged bored nostalgic pensive homesick "
        "rueful resigned melancholy tired weary unfortunately unfortunate sigh sighing pity "
        "serious solemn somber sombre empty",
        0.55: "sad unhappy sorrow sorrowful sadness gloomy gloom down downcast dejected glum lonely "
        "lonesome hurt upset crying cry cries tearful tears tear weep weeping mourn mourning lost "
        "loss miss missing misses alone depressed depressing unloved rejected pessimistic bleak "
        "dismal funeral died dead death grief-stricken apologetic ashamed guilty guilt shame "
        "blame miserable hopeless sob goodbye farewell dispirited disheartened",
        0.75: "heartbroken grieving grief despair despairing hopelessness wretched inconsolable sobbing "
        "heartbreaking heartbreak tragic tragedy anguish anguished broken brokenhearted suffering "
        "misery agony",
        0.95: "devastated devastating shattered suicidal crushed desolate",
    },
    "angry": {
        0.35: "annoyed annoying annoyance irritated irritating irritation irritable grumpy impatient "
        "cross displeased grouchy cranky bothered miffed peeved frustrated frustrating "
        "frustration stern strict sarcastic cynical defiant sulky jealous envious",
        0.55: "angry anger mad resentful resentment bitter hostile indignant indignation exasperated "
        "fed-up offended offensive aggressive argue arguing shout shouting yell yelling scold "
        "scolding insulted unacceptable blame accuse accusing hate hates hating disgruntled "
        "heated provoked vengeful contempt contemptuous scornful scorn disdain disdainful "
        "threatening threaten temper snarl snarling growl",
        0.75: "irate outraged outrage outrageous incensed infuriated infuriating fuming hateful hatred "
        "wrath rage raging vicious ferocious spiteful savage boiling seething damn",
        0.95: "furious fury enraged livid murderous berserk",
    },
    "afraid": {
        0.35: "concerned concern worry worried worrying worries uneasy unease hesitant unsure insecure "
        "timid shy apprehensive apprehension cautious wary restless edgy doubtful suspicious "
        "nervous nervously jittery tense tension anxious insecurity vulnerable uncertain stressed "
        "stress embarrassed",
        0.55: "afraid fear fearful scared scary scare frightened frightening frighten anxiety dread "
        "dreading alarmed alarming alarm danger dangerous threat threatened spooked creepy spooky "
        "panicky trembling tremble shaking distressed haunted ominous cowering help",
        0.75: "panic panicked panicking panic-stricken horror horrified horrifying shaken dreadful "
        "nightmare scream screaming hysterical",
        0.95: "terrified terrifying terror petrified",
    },
    "disgusted": {
        0.35: "distaste distasteful unappetizing unappetising queasy icky dirty smelly unpleasant "
        "dislike off-putting stale",
        0.55: "disgusted disgust disgusting gross yuck yucky eww ew ugh nasty filthy filth sickened "
        "sickening repelled foul stink stinks stinking stinky nauseous nausea nauseating "
        "nauseated mouldy moldy rotten rotting slimy rancid repugnant aversion loathe loathing "
        "abhor revulsion vomit vomiting puke gag gagging maggot maggots sewage putrid grotesque "
        "odious",
        0.75: "revolting revolted repulsed repulsive vile loathsome abhorrent appalled appalling abominable",
    },
    "surprised": {
        0.35: "unexpected unexpectedly curious puzzled confused baffled perplexed bewildered suddenly "
        "sudden intrigued really",
        0.55: "surprised surprise surprising surprisingly startled startling wow whoa gosh amazed "
        "amazement astonishing wonder unbelievable incredible huh incredulous disbelief awe "
        "awestruck marvel gasp gasping what speechless",
        0.75: "astonished astonishment shocked shock shocking stunned stunning astounded astounding "
        "dumbfounded dumbstruck flabbergasted thunderstruck staggered gobsmacked",
    },
    "neutral": {
        0.35: "neutral calm calmly composed relaxed normal plain indifferent unemotional expressionless "
        "blank steady impassive deadpan stoic matter-of-fact businesslike professional unmoved "
        "flat emotionless tranquil sober serene polite politely formal factual",
    },
}

# Phrases are looked for before words.
PHRASES: Mapping[str, Mapping[float, tuple[str, ...]]] = {
    "happy": {
        0.4: (
            "in a good mood", "not bad", "looking up", "at ease", "looking forward", "feel better",
        ),
        0.6: (
            "good news", "well done", "made my day", "in high spirits", "full of beans",
            "in good spirits", "can't wait", "cannot wait", "happy as a clam", "bright eyed", "thank you",
            "thank goodness", "so far so good", "feel good", "feeling good", "made it", "did it",
            "in love",
        ),
        0.9: (
            "over the moon", "on cloud nine", "on top of the world", "in seventh heaven",
            "walking on air", "jump for joy", "jumping for joy", "tickled pink", "best day",
            "having the time of my life", "dream come true", "dreams come true",
            "grinning from ear to ear", "big smile", "broad smile",
        ),
    },
    "sad": {
        0.4: (
            "under the weather", "feeling low", "feel low", "let down", "in low spirits", "long face",
        ),
        0.6: (
            "down in the dumps", "down in the mouth", "feeling blue", "feel blue", "passed away",
            "bad news", "lump in my throat", "heavy heart", "heavy hearted", "close to tears", "in tears",
            "too bad", "gave up", "give up", "given up", "all alone", "no hope",
        ),
        0.85: (
            "broken heart", "heart is breaking", "heart broken", "cried my eyes out", "in pieces",
            "in mourning", "cry my eyes out", "heart sank", "out of hope",
        ),
    },
    "angry": {
        0.45: (
            "fed up", "sick of", "sick and tired", "on my nerves", "enough of", "had enough",
            "ticked off", "rubs me the wrong way", "short tempered", "bad tempered",
        ),
        0.65: (
            "how dare", "shut up", "go away", "get out", "leave me alone", "last straw",
            "end of my patience", "losing my temper", "lost my temper", "lose my temper", "up in arms",
            "pissed off", "hot under the collar", "at the end of my tether", "drives me mad",
            "makes my blood boil", "bent out of shape", "losing patience",
        ),
        0.9: (
            "hit the roof", "hit the ceiling", "seeing red", "saw red", "see red", "blow a fuse",
            "blew a fuse", "blood is boiling", "beside myself with rage", "foaming at the mouth",
            "fly off the handle", "boiling with rage", "blood boil", "steam coming out",
        ),
    },
    "afraid": {
        0.45: (
            "butterflies in my stomach", "butterflies in her stomach", "butterflies in his stomach",
            "on edge", "cold feet", "on pins and needles", "on thin ice", "ill at ease",
            "bundle of nerves", "knot in my stomach",
        ),
        0.65: (
            "worried sick", "goose bumps", "hair stand on end", "watch out", "look out",
            "shaking like a leaf", "heart in my mouth", "jump out of my skin",
            "breaking out in a cold sweat", "cold sweat", "behind me",
        ),
        0.9: (
            "scared stiff", "scared to death", "frightened to death", "scared out of my wits",
            "blood ran cold", "frozen with fear", "paralysed with fear", "paralyzed with fear",
            "run for your life",
        ),
    },
    "disgusted": {
        0.6: (
            "makes me sick", "make me sick", "made me sick", "turn my stomach", "turns my stomach",
            "turned my stomach", "sick to my stomach", "want to throw up", "throwing up", "throw up",
            "grossed out", "skin crawl", "bad taste", "creeps me out",
        ),
    },
    "surprised": {
        0.5: (
            "no way", "oh my", "taken aback", "out of the blue", "out of nowhere",
            "who would have thought", "you are kidding", "you're kidding", "caught off guard",
            "did not expect", "didn't expect", "never expected", "what on earth", "are you serious",
            "raised eyebrows", "for real",
        ),
        0.75: (
            "oh my god", "jaw dropped", "jaw dropping", "blown away", "at a loss for words",
            "lost for words", "can't believe", "cannot believe", "could not believe", "couldn't believe",
            "bolt from the blue", "mind blown", "blew my mind", "see that coming",
        ),
    },
    "neutral": {
        0.35: (
            "matter of fact", "no emotion", "without emotion", "without expression", "poker face",
            "never mind", "straight face", "no expression", "at rest",
        ),
    },
}  # fmt: skip

# What a degree word makes of the strength of what follows it.
DEGREES: Mapping[float, str] = {
    0.35: "barely scarcely faintly vaguely minimally",
    0.5: "slightly mildly little bit touch hint trace tad gently softly subtly lightly",
    0.7: "somewhat fairly moderately kinda sorta mostly partly",
    1.15: "quite rather pretty genuinely truly",
    1.35: "very so really too big great deeply highly terribly awfully strongly seriously "
    "especially such much overly remarkably intensely visibly clearly",
    1.6: "extremely absolutely utterly completely totally incredibly thoroughly exceedingly "
    "insanely overwhelmingly beyond immensely hugely entirely wildly",
}
DEGREE_PHRASES: Mapping[str, float] = {"kind of": 0.7, "sort of": 0.7, "more or less": 0.7}
_NEGATIONS = (
    "ain't aren't can't cannot couldn't didn't doesn't don't hadn't hardly hasn't haven't isn't lack "
    "lacking neither never no nobody nor not nothing shouldn't stop wasn't weren't without won't "
    "wouldn't"
)
NEGATIONS = frozenset(_NEGATIONS.split())
_ENDS_NEGATION = "although because but however just only though yet"
ENDS_NEGATION = frozenset(_ENDS_NEGATION.split())
# From one feeling to the next.
THEN = (
    "and then", "but then", "then", "after that", "afterwards", "later on", "later", "finally",
    "eventually", "followed by", "in the end", "at last", "turning", "turns", "becoming", "becomes",
    "before turning", "next", "changing to", "->", "→",
)  # fmt: skip
# Function words: of English, by which a sentence is known as one; of others, by which it is known as none.
_ENGLISH = (
    "a about all am an and are as at be been but by can could did do does for from had has have he her "
    "here his how i if in is it its just me my no not of on or our out please she so that the their "
    "there these they this those to up very was we were what when where who why will with would yes you "
    "your"
)
ENGLISH = frozenset(_ENGLISH.split())
_FOREIGN = (
    "aber auch auf avec bin bist che con dans das del dem den der des di die du ein eine einen el elle "
    "er es est et für gli heute ich ihr il im ist je la las le les lo los mi mit molto muy ne nicht "
    "noch non nous nur oder para pas per por pour que schon sehr sie sind sono su sur très tu un una "
    "und une von vous war wie wir y zu è"
)
FOREIGN = frozenset(_FOREIGN.split())
