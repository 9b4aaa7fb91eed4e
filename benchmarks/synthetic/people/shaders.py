"""The shading language of `raster`: skin that lets light through, hair, cloth, wet eyes, one soft shadow."""

_COMMON_VERTEX = """
#version 330
uniform mat4 light;
in vec3 position; in vec3 normal; in vec2 uv; in float lift;
"""

SHADOW_VERTEX = (
    _COMMON_VERTEX
    + """
out vec2 place;
void main() {
    place = uv;
    gl_Position = light * vec4(position + lift * normal, 1.0);
}
"""
)

SHADOW_FRAGMENT = """
#version 330
uniform sampler2D picture;
in vec2 place;
void main() { if (texture(picture, place).a < 0.5) discard; }
"""

VERTEX = (
    _COMMON_VERTEX
    + """
uniform mat4 camera;
in vec3 rest; in vec4 paint;
out vec3 at; out vec3 towards; out vec2 place; out vec3 unposed; out vec4 marks; out vec3 lit;
void main() {
    at = position + lift * normal;
    towards = normal; place = uv; unposed = rest; marks = paint;
    lit = (light * vec4(at + 0.004 * normal, 1.0)).xyz * 0.5 + 0.5;
    gl_Position = camera * vec4(at, 1.0);
}
"""
)

_FRAGMENT = """
uniform sampler2D picture;
uniform sampler2DShadow shadow;
uniform bool solid;
uniform vec3 eye, key, key_colour, fill, fill_colour, rim, rim_colour, ambient;
uniform vec3 hair_colour, shirt_colour, stripe_colour;
uniform float beard, scalp_cover, stripes_per_m, stripe_share;
in vec3 at; in vec3 towards; in vec2 place; in vec3 unposed; in vec4 marks; in vec3 lit;
out vec4 result;

float noise(vec3 p) {  // cheap and smooth enough: waves that do not fit each other
    return sin(p.x * 1.7 + 2.3 * sin(p.y * 1.3 + p.z)) * sin(p.y * 2.1 + 1.9 * sin(p.z * 1.1 + p.x));
}

float grain(vec3 p) {
    return fract(sin(dot(floor(p), vec3(12.9898, 78.233, 37.719))) * 43758.5453);
}

float sunlight() {
    float sum = 0.0;
    for (int x = -1; x <= 1; x += 2)
        for (int y = -1; y <= 1; y += 2)
            sum += texture(shadow, vec3(lit.xy + vec2(x, y) * 0.002, lit.z - 0.002));
    return sum / 4.0;
}

vec3 wrapped(vec3 n, vec3 direction, vec3 wrap) {
    return clamp((dot(n, direction) + wrap) / (1.0 + wrap), 0.0, 1.0);
}

float shine(vec3 n, vec3 view, vec3 direction, float power) {
    return pow(max(dot(n, normalize(view + direction)), 0.0), power) * step(0.0, dot(n, direction));
}

void main() {
    vec4 texel = texture(picture, place);
    if (solid && texel.a < (kind == 5 ? 0.6 : 0.5)) discard;
    vec3 view = normalize(eye - at);
    vec3 n = normalize(towards);
    if (dot(n, view) < 0.0 && (kind == 5 || kind == 6 || kind == 1)) n = -n;
    if (kind == 2 && !solid) {  // the cornea: nothing but its highlights
        if (texel.a > 0.5) discard;
        float spark = shine(n, view, key, 180.0) * 1.5 + 0.4 * shine(n, view, fill, 90.0);
        result = vec4(vec3(1.0), clamp(spark, 0.0, 0.9));
        return;
    }
    vec3 albedo = texel.rgb;
    vec3 wrap = vec3(0.05);
    float gloss = 0.0, power = 20.0, dim = 1.0;
    if (kind == 0) {
        wrap = vec3(0.4, 0.22, 0.15);
        gloss = 0.22; power = 18.0;
        float fuzz = 0.55 * (grain(unposed * 900.0) - 0.5);
        float stubble = beard * smoothstep(-1.2, 1.2, marks.y + 0.5 * noise(unposed * 130.0));
        vec3 strands = hair_colour * (0.75 + 0.9 * fuzz + 0.25 * noise(unposed * vec3(260.0, 90.0, 260.0)));
        albedo = mix(albedo, strands, stubble * 0.92);
        float cap = scalp_cover * smoothstep(-0.8, 0.8, marks.x + 0.4 * noise(unposed * 150.0));
        albedo = mix(albedo, strands, cap);
        gloss *= 1.0 - 0.8 * max(cap, stubble);
        if (has_shirt) {
            float shirt = smoothstep(-0.12, 0.12, marks.z);
            float wave = fract(unposed.y * stripes_per_m);
            float stripe = stripes_per_m > 0.0 ? step(wave, stripe_share) : 0.0;
            vec3 cloth = mix(shirt_colour, stripe_colour, stripe);
            cloth *= 0.96 + 0.07 * noise(unposed * 22.0);
            cloth *= 1.0 - 0.3 * (1.0 - smoothstep(0.0, 0.35, marks.z)) * step(0.0, marks.z);
            albedo = mix(albedo, cloth, shirt);
            wrap = mix(wrap, vec3(0.1), shirt);
            gloss *= 1.0 - shirt;
            n = normalize(n + shirt * 0.22 * vec3(noise(unposed * 17.0), noise(unposed.yzx * 14.0), 0.0));
        }
        dim = 1.0 - 0.85 * smoothstep(0.3, 0.9, marks.w);
    } else if (kind == 1) {
        n = normalize(n + 0.18 * vec3(noise(unposed * 19.0), noise(unposed.yzx * 15.0), 0.0));
        gloss = 0.04;
    } else if (kind == 2) {
        wrap = vec3(0.3); gloss = 0.5; power = 120.0; dim = 0.9;
    } else if (kind == 3 || kind == 4) {
        wrap = vec3(0.3); gloss = 0.25; power = 50.0;
        dim = mix(0.95, 0.15, smoothstep(0.0, 0.9, marks.w));
    } else if (kind == 5) {
        wrap = vec3(0.25);
        vec3 strand = normalize(cross(n, vec3(1.0, 0.15, 0.0)));
        float along = dot(strand, normalize(view + key));
        gloss = 0.0;
        albedo *= 1.0 + 1.1 * pow(max(1.0 - along * along, 0.0), 24.0);
    } else if (kind == 7) {
        gloss = 0.5; power = 60.0;
    }
    vec3 shade = vec3(sunlight());
    if (kind == 0) shade = mix(shade, vec3(1.0), vec3(0.16, 0.06, 0.04) * (1.0 - shade));
    float sky = 0.5 + 0.5 * n.y;
    vec3 light_in = ambient * mix(0.65, 1.15, sky)
        + key_colour * shade * wrapped(n, key, wrap)
        + fill_colour * wrapped(n, fill, wrap);
    float edge = pow(1.0 - max(dot(n, view), 0.0), 3.0);
    vec3 colour = pow(albedo, vec3(2.2)) * light_in * dim;
    colour += rim_colour * edge * wrapped(n, rim, vec3(0.3)) * (kind == 5 ? 0.25 : 0.5) * dim;
    colour += dim * gloss * (key_colour * shade * shine(n, view, key, power)
        + 0.7 * fill_colour * shine(n, view, fill, power)) * (0.4 + edge);
    colour = pow(clamp(1.12 * colour / (1.0 + 0.12 * colour), 0.0, 1.0), vec3(1.0 / 2.2));
    result = vec4(colour, solid ? 1.0 : texel.a);
}
"""


def fragment_shader(kind: int, has_shirt: bool) -> str:
    """The program of one kind of surface (see `raster.KINDS`): each pays for its own branches only."""
    return (
        f"#version 330\nconst int kind = {kind};\nconst bool has_shirt = {str(has_shirt).lower()};{_FRAGMENT}"
    )
