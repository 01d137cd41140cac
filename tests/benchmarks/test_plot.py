"""Lines as SVG."""

from xml.etree import ElementTree as ET

from benchmarks.plot import Line, draw

SVG = "{http://www.w3.org/2000/svg}"


def test_lines_fill_their_panels() -> None:
    lines = [Line("memory, MB", [0, 50, 100]), Line("open files", [7, 7, 7])]
    root = ET.fromstring(draw("minutes", [0, 30, 60], lines))
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert texts == ["memory, MB: at most 100.0", "open files: at most 7.0", "0.0 to 60.0 minutes"]
    memory, files = (each.attrib["points"].split() for each in root.iter(f"{SVG}polyline"))
    assert memory == ["30.0,150.0", "360.0,90.0", "690.0,30.0"]
    assert {point.partition(",")[2] for point in files} == {"180.0"}
