"""Every format gives the same box back; every broken file says in words what is wrong with it."""

import io

import numpy as np
import pytest
import trimesh

from crvae3d.datasets.readers import SUFFIXES, parse_shape
from crvae3d.datasets.shape import BadShape

BOX = trimesh.creation.box(extents=(1.0, 2.0, 3.0))
QUADS = b"""OFF
# a comment
8 6 0
0 0 0
1 0 0  # behind a vertex
1 2 0
0 2 0

0 0 3
1 0 3
1 2 3
0 2 3
4 0 3 2 1
4 4 5 6 7 255 0 0
4 0 1 5 4
4 1 2 6 5
4 2 3 7 6
4 3 0 4 7"""


def off(header: str = "OFF\n{v} {f} 0\n", end: str = "\n") -> bytes:
    rows = [" ".join(f"{x:.6f}" for x in vertex) for vertex in BOX.vertices]
    rows += ["3 " + " ".join(map(str, face)) for face in BOX.faces]
    return (header.format(v=len(BOX.vertices), f=len(BOX.faces)) + "\n".join(rows) + end).encode()


def rows(points: np.ndarray, separator: str = " ") -> bytes:
    return "\n".join(separator.join(f"{x:.9g}" for x in point) for point in points).encode()


MESHES = {
    "off": (".off", off()),
    "off glued": (".OFF", off("OFF{v} {f} 0\n")),
    "off on one line": (".off", off("OFF {v} {f} 0\n")),
    "off without a final newline": (".off", off(end="")),
    "off windows": (".off", off().replace(b"\n", b"\r\n")),
    "off old mac": (".off", off().replace(b"\n", b"\r")),
    "off counts of two": (".off", off("OFF\n{v} {f}\n")),
    "off polygons, comments, colours": (".off", QUADS),
    "obj": (".obj", BOX.export(file_type="obj").encode()),
    "stl": (".stl", BOX.export(file_type="stl")),
    "stl text": (".stl", BOX.export(file_type="stl_ascii").encode()),
    "ply": (".ply", BOX.export(file_type="ply")),
    "ply text": (".ply", BOX.export(file_type="ply", encoding="ascii")),
    "glb": (".glb", trimesh.Scene([BOX]).export(file_type="glb")),
    "glb of two placed parts": (
        ".glb",
        trimesh.Scene(
            [trimesh.creation.box(extents=(1.0, 2.0, 3.0)).slice_plane((0, 0, 0), (0, 0, sign)) for sign in (1, -1)]
        ).export(file_type="glb"),
    ),
}


@pytest.mark.parametrize("case", MESHES)
def test_every_mesh_format_gives_the_same_surface(case):
    suffix, content = MESHES[case]
    shape = parse_shape(content, suffix)
    assert shape.areas().sum() == pytest.approx(BOX.area, rel=1e-6)
    assert np.ptp(shape.points, axis=0) == pytest.approx([1, 2, 3], rel=1e-6)
    assert shape.points.dtype == np.float64 and shape.faces.dtype == np.int64


def test_off_in_its_fast_and_its_slow_form_are_one_shape():
    fast = parse_shape(off(), ".off")
    keyword, counts, *body = off().splitlines()
    coloured = parse_shape(b"\n".join([b"C" + keyword, counts, *(line + b" 9 9 9 1" for line in body)]), ".off")
    assert fast.digest() == coloured.digest()


POINTS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


def saved(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


CLOUDS = {
    "npy": (".npy", saved(POINTS)),
    "npy with normals": (".npy", saved(np.hstack([POINTS, POINTS]))),
    "xyz": (".xyz", rows(POINTS)),
    "txt with commas and normals": (".txt", rows(np.hstack([POINTS, POINTS]), ",")),
    "txt with a header": (".txt", b"x;y;z\n" + rows(POINTS, ";") + b"\n\n"),
    "pts with its count": (".pts", b"40\n" + rows(POINTS)),
    "ply": (".ply", trimesh.PointCloud(POINTS).export(file_type="ply")),
    "off without faces": (".off", b"OFF\n40 0 0\n" + rows(POINTS)),
}


@pytest.mark.parametrize("case", CLOUDS)
def test_every_cloud_format_gives_the_points_in_order(case):
    shape = parse_shape(CLOUDS[case][1], CLOUDS[case][0])
    assert shape.faces is None
    np.testing.assert_allclose(shape.points, POINTS, rtol=1e-6)


def broken_stl() -> bytes:
    content = bytearray(MESHES["stl"][1])
    content[96:100] = np.float32("nan").tobytes()
    return bytes(content)


PLY, TEXT_PLY = MESHES["ply"][1], MESHES["ply text"][1]
BAD = {
    "strips": (
        ".ply",
        b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nelement tristrips 1\nend_header\n1\n1 0\n",
        "strips, which are not read",
    ),
    "empty": (".off", b" \n", "empty"),
    "unknown suffix": (".blend", b"x", "not read; known are"),
    "not OFF": (".off", b"hello world\n", "does not begin with OFF"),
    "binary OFF": (".off", b"OFF BINARY\n\0\0", "binary OFF"),
    "OFF counts": (".off", b"OFF\nmany faces\n", "line of counts"),
    "OFF ends in its vertices": (".off", off()[:60], "truncated: . vertices of the 8"),
    "OFF lacks a face": (".off", off().rsplit(b"3 ", 1)[0], "truncated: 11 faces of the 12"),
    "OFF ends in a face": (".off", off()[:-3], "truncated|cut short"),
    "OFF with words": (".off", off().replace(b"3 ", b"three ", 1), "not made of numbers"),
    "OFF face beyond": (".off", off().replace(b"\n3 1", b"\n3 99", 1), "vertex 99"),
    "OFF nan": (".off", off().replace(b"0.500000", b"nan", 1), "1 of its 8 vertices are not finite"),
    "OFF infinite": (".off", off().replace(b"0.500000", b"1e999", 2), "not finite"),
    "OFF zero area": (".off", b"OFF\n3 1 0\n0 0 0\n1 1 1\n2 2 2\n3 0 1 2\n", "area is zero"),
    "OFF sliver": (".off", b"OFF\n3 1 0\n.1 .1 .1\n.3 .3 .3\n.7 .7 .7\n3 0 1 2\n", "area is zero"),
    "STL truncated": (".stl", MESHES["stl"][1][:300], "truncated: 4 faces of the 12"),
    "STL header only": (".stl", MESHES["stl"][1][:50], "truncated: 50 bytes"),
    "STL text truncated": (".stl", MESHES["stl text"][1][:500], "truncated: . complete facets"),
    "STL nan": (".stl", broken_stl(), "1 of its 36 vertices are not finite"),
    "PLY truncated": (".ply", PLY[:-30], "truncated"),
    "PLY truncated header": (".ply", PLY[:60], "truncated within its header"),
    "PLY text truncated": (".ply", TEXT_PLY[:-30], "truncated: .. rows of the 20"),
    "PLY text nan": (".ply", TEXT_PLY.replace(b"0.5", b"nan", 1), "not finite"),
    "GLB truncated": (".glb", MESHES["glb"][1][:-100], "truncated"),
    "GLB junk": (".glb", b"hello world, hello", "does not begin with glTF"),
    "glTF junk": (".gltf", b"{", "cannot be read as GLTF"),
    "OBJ nan": (".obj", b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "1 of its 3 vertices are not finite"),
    "OBJ junk": (".obj", b"hello world", "neither a mesh nor points"),
    "OBJ vertex 0": (".obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", "a face names vertex 0, and OBJ counts from 1"),
    "OBJ vertex 0 of three": (".obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1/1 2/1 0/1\n", "a face names vertex 0"),
    "OBJ cut in a face": (".obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 1 3", "its last face has fewer than three"),
    "OBJ before the first": (
        ".obj",
        b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf -1 -2 -4\n",
        "a face counts -4 from the 3 vertices",
    ),
    "OBJ face beyond": (".obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "cannot be read as OBJ"),
    "npy pickle": (".npy", saved(np.array([{}], dtype=object)), "cannot be read as NPY"),
    "npy channels first": (".npy", saved(POINTS.T.copy()), "3 rows of 40 numbers: transpose"),
    "npy shape": (".npy", saved(POINTS[:, :2]), r"got float32 \(40, 2\)"),
    "npy truncated": (".npy", saved(POINTS)[:-9], "cannot be read as NPY"),
    "xyz two columns": (".xyz", b"1 2\n3 4\n", "2 columns"),
    "xyz ragged": (".xyz", b"1 2 3\n4 5\n", "differ in length"),
    "xyz ragged but a multiple of three": (".xyz", b"1 2 3\n4 5\n6 7 8 9\n", "from 2 to 4 numbers"),
    "xyz decimal commas": (".xyz", b"1,5;2,5;3,5\n4,5;5,5;6,5\n", "decimal point"),
    "xyz decimal commas between blanks": (".xyz", b"1,5 2,5 3,5\n4,25\t5 6,25\n", "decimal point"),
    "xyz words": (".xyz", b"1 2 3\n4 5 six\n", "not a number"),
    "xyz nan": (".xyz", b"1 2 3\nnan 5 6\n", "1 of its 2 points"),
    "xyz one place": (".xyz", b"1 2 3\n1 2 3\n", "coincide"),
    "xyz header only": (".xyz", b"x y z\n", "no points"),
    "pts fewer than announced": (".pts", b"41\n" + rows(POINTS), "truncated: 40 points of the 41"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_broken_file_is_refused_with_its_reason(case):
    suffix, content, reason = BAD[case]
    with pytest.raises(BadShape, match=reason) as caught:
        parse_shape(content, suffix)
    assert "\n" not in str(caught.value)


def test_what_some_programs_write_is_read():
    normals = b"\n".join(line + b" nan nan nan" for line in rows(POINTS).splitlines()) + b"\n"
    properties = b"".join(b"property float %s\n" % name for name in (b"x", b"y", b"z", b"nx", b"ny", b"nz"))
    header = b"ply\nformat ascii 1.0\nelement vertex 40\n" + properties + b"end_header\n"
    np.testing.assert_allclose(parse_shape(header + normals, ".ply").points, POINTS, rtol=1e-6)
    np.testing.assert_allclose(parse_shape(b"\xef\xbb\xbf" + rows(POINTS), ".xyz").points, POINTS, rtol=1e-6)
    for text in (
        b"# x, y; z\n" + rows(POINTS),
        b"x;y;z (m, local)\n" + rows(POINTS),
        rows(POINTS).replace(b"\n", b",;\n"),
    ):
        np.testing.assert_allclose(parse_shape(text, ".xyz").points, POINTS, rtol=1e-6)
    for content in (MESHES["stl text"][1].upper(), MESHES["stl"][1] + b"made by a scanner"):
        assert parse_shape(content, ".stl").areas().sum() == pytest.approx(BOX.area)


def test_a_header_says_where_the_coordinates_are():
    for header, columns in ((b"idx x y z", (9, 0, 1, 2)), (b"X,Z,Y", (0, 2, 1)), (b'"i";"z";"y";"x"', (9, 2, 1, 0))):
        table = np.column_stack([np.arange(len(POINTS)) if axis == 9 else POINTS[:, axis] for axis in columns])
        np.testing.assert_allclose(parse_shape(header + b"\n" + rows(table), ".txt").points, POINTS, rtol=1e-6)


def test_an_obj_may_be_indented_and_have_comments_and_old_ends_of_lines():
    plain = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\ng a\nf 1 2 3\ng b\nf 1 3 4\n"
    forms = [
        plain.replace("\n", "\n  "),
        plain.replace("\nf", "\n\tf"),
        plain.replace("\n", "  # f 1 2 9\n"),
        plain.replace("\n", "\r"),
        plain.replace("\n", "\r\n"),
        plain.replace("f 1 2 3", "f 1 2 \\\n 3"),
        plain.replace("g a", "g a#10 0"),
    ]
    for text in (plain, *forms):
        shape = parse_shape(text.encode(), ".obj")
        assert shape.areas().sum() == pytest.approx(1) and len(shape.faces) == 2, text


def test_textures_that_an_obj_lacks_decide_nothing():
    textured = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf -1/-1 -2/-2 -3/-3\n"
    assert parse_shape(textured, ".obj").areas().sum() == pytest.approx(0.5)


def test_a_vertex_that_no_face_has_decides_nothing():
    far = b"OFF\n4 1 0\n0 0 0\n1 0 0\n0 1 0\n10000000 0 0\n3 0 1 2\n"
    assert parse_shape(far, ".off").areas().sum() == pytest.approx(0.5)


def test_corners_of_an_obj_are_counted_back_from_those_read_so_far():
    square = "vn 0 0 1\nv 0 0 {z}\nv 1 0 {z}\nv 1 1 {z}\nv 0 1 {z}\n"
    both = square.format(z=0) + "{}" + square.format(z=1) + "{}"
    back = both.format("f -4 -3 -2 # -9\nf -4//-1 -2//-1 \\\n-1//-1\ng b\n", "f -4 -3 -2 -1\n")
    said = both.format("f 1 2 3\nf 1//1 3//1 4//1\ng b\n", "f 5 6 7 8\n")
    found, expected = (parse_shape(text.encode(), ".obj") for text in (back, said))
    assert found.areas().sum() == expected.areas().sum() == 2
    for shape in (found, expected, parse_shape(said.replace(" ", "\t").encode(), ".obj")):
        corners = shape.points[shape.faces]
        assert sorted(corners[..., 2].min(1)) == sorted(corners[..., 2].max(1)) == [0, 0, 1, 1]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "content", [b"\x00", b"\xff" * 200, b"1", b"solid\nfacet", b"ply\nend_header\n", b"OFF 1e9 1 1"]
)
def test_junk_never_raises_anything_else(suffix, content):
    with pytest.raises(BadShape):
        parse_shape(content, suffix)


def test_gltf_reads_the_buffers_beside_it(tmp_path):
    for name, content in trimesh.Scene([BOX]).export(file_type="gltf").items():
        (tmp_path / name).write_bytes(content)
    path = tmp_path / "model.gltf"
    assert parse_shape(path.read_bytes(), path.suffix, path).areas().sum() == pytest.approx(BOX.area)
