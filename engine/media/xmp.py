"""Metadata that outlives most tools: an XMP packet in an MP4 or QuickTime file.

The packet: ISO 16684-1; where it lies in the file: XMP specification part 3; the term: IPTC Photo Metadata.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import quoteattr

XMP_SUFFIXES = (".mp4", ".mov")
UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # of the box that holds an XMP packet
_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    "Iptc4xmpExt:DigitalSourceType={term}/>"
    "</rdf:RDF></x:xmpmeta>"
    '<?xpacket end="w"?>'
)


def append_source_type(path: Path, term: str) -> None:
    """Adds the IPTC digital source type to a finished .mp4 or .mov, as a box that players skip.

    term: the URI from IPTC's list. Raises OSError.
    """
    packet = _PACKET.format(term=quoteattr(term)).encode()
    box = (8 + len(UUID) + len(packet)).to_bytes(4, "big") + b"uuid" + UUID + packet
    with path.open("ab") as file:
        file.write(box)
