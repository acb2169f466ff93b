"""Corruptions of test clouds at strengths 1 to 5: what a representation must bear, as transformations of batches.

    CORRUPTIONS[family](strength)(clouds, generator=g)

Clouds come centred, in the unit sphere, z up. They are not centred and scaled anew afterwards, so that a corruption does what
it says and nothing else; ModelNet40-C (Sun, Zhang, Kailkhura, Yu, Xiao and Mao, Benchmarking Robustness of 3D Point Cloud
Recognition Against Common Corruptions, 2022) fits most of its results into the cube [-1, 1]^3. Its fifteen families are
here with the constants that its authors released, written anew from the descriptions and for any number of points:
comparable in kind, but not the benchmark's files. The other six are this package's own.
"""

from collections.abc import Callable

from crvae3d.errors import InputError
from crvae3d.points import density, distort, noise, occlude
from crvae3d.points.augment import CloudTransform, Jitter, Rotate, RotateSO3, Scale

STRENGTHS = (1, 2, 3, 4, 5)

Family = Callable[[int], CloudTransform]


def _family(*transforms: CloudTransform) -> Family:
    """A family by its five transformations, from weak to strong."""

    def at(strength: int) -> CloudTransform:
        if strength not in STRENGTHS:
            raise InputError(f"the strength of a corruption is one of 1, 2, 3, 4 and 5, got {strength!r}")
        return transforms[STRENGTHS.index(strength)]

    return at


OWN: dict[str, Family] = {
    "azimuth": _family(*map(Rotate, (36, 72, 108, 144, 180))),
    "so3": _family(*map(distort.RotateWithin, (36, 72, 108, 144)), RotateSO3()),
    "scale": _family(*(Scale(1 / high, high) for high in (1.2, 1.4, 1.6, 1.8, 2.0))),
    "thin": _family(*map(density.Thin, (1 / 2, 1 / 4, 1 / 8, 3 / 32, 1 / 16))),
    "crop": _family(*map(density.Cut, (0.1, 0.2, 0.3, 0.4, 0.5))),
    "outliers": _family(*map(noise.Outliers, (0.1, 0.2, 0.3, 0.4, 0.5))),
}
"""Rotations up to 36 degrees a strength, about z and about any axis, where 5 is all of SO(3); scaling by one factor for all
axes, as often up as down; and a share of the points kept, lost on one side, or replaced from the unit ball. Gaussian noise
is not among them: it is ModelNet40-C's `gaussian`."""

MODELNET40_C: dict[str, Family] = {
    "occlusion": _family(*map(occlude.Occlude, (72, 144, 216, 288, 360))),
    "lidar": _family(*map(occlude.Lidar, (72, 144, 216, 288, 360))),
    "density_increase": _family(*map(density.LocallyDenser, (1, 2, 3, 4, 5))),
    "density_decrease": _family(*map(density.LocallySparser, (1, 2, 3, 4, 5))),
    "cutout": _family(*map(density.Cutout, (2, 3, 5, 7, 10))),
    "uniform": _family(*map(noise.UniformNoise, (0.01, 0.02, 0.03, 0.04, 0.05))),
    "gaussian": _family(*(Jitter(sigma, clip=float("inf")) for sigma in (0.01, 0.015, 0.02, 0.025, 0.03))),
    "impulse": _family(*map(noise.Impulse, (30, 25, 20, 15, 10))),
    "upsampling": _family(*map(noise.Upsample, (5, 4, 3, 2, 1))),
    "background": _family(*map(noise.Background, (45, 40, 35, 30, 20))),
    "rotation": _family(*map(distort.RotateThrice, (2.5, 5, 7.5, 10, 15))),
    "shear": _family(*map(distort.Shear, (0.05, 0.1, 0.15, 0.2, 0.25))),
    "distortion": _family(*map(distort.FreeForm, (0.1, 0.2, 0.3, 0.4, 0.5))),
    "distortion_rbf": _family(*map(distort.RadialBasis, (0.025, 0.05, 0.075, 0.1, 0.125))),
    "distortion_inverse_rbf": _family(
        *(distort.RadialBasis(d, inverse=True) for d in (0.025, 0.05, 0.075, 0.1, 0.125))
    ),
}
"""Changes of density, noise and deformations, five of each. The strengths of occlusion and lidar are, as in the benchmark,
five fifths of the circle to look from: none is harder by itself."""

CORRUPTIONS: dict[str, Family] = OWN | MODELNET40_C
