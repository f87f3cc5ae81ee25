"""Float64 NumPy twins of the methods with adaptive scaling, curvature or kernels.

Written from the formulas. Arrays of one leaf, of any shape; `directions` (K, *leaf) are the
evaluated ones.
"""

import numpy as np
from numpy.polynomial import legendre


def spsa(directions, losses, scale):
    """Mean over K pairs of the slope along each direction times the direction; losses (K, 2)."""
    slopes = [(plus - minus) / (2 * scale) for plus, minus in losses]
    return np.mean([c * u for c, u in zip(slopes, directions, strict=True)], 0)


def adam_step(x, m, v, t, gradient, *, eta, b1, b2, eps, decay=0.0):
    """Step t = 1, 2, ... of Adam with decoupled decay; returns x, m, v."""
    m = b1 * m + (1 - b1) * gradient
    v = b2 * v + (1 - b2) * gradient**2
    corrected = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    return x - eta * (corrected + decay * x), m, v


def adamezo_step(x, gradients, *, eta, b1, b2, eps, horizon, decay=0.0):
    """AdaMeZO: moments of the latest gradients alone, which come newest first; returns x."""
    last = gradients[:horizon]
    mean = lambda b, of: sum(b**j * g for j, g in enumerate(of)) / sum(b**j for j in range(len(of)))
    m, v = mean(b1, last), mean(b2, [g**2 for g in last])
    return x - eta * (m / (np.sqrt(v) + eps) + decay * x)


def adazo_step(x, m, v, gradient, *, eta, b1, b2, eps, decay=0.0):
    """R-AdaZO: the second moment of m, no bias correction; returns x, m, v."""
    m = b1 * m + (1 - b1) * gradient
    v = b2 * v + (1 - b2) * m**2
    return x - eta * (m / (np.sqrt(v) + eps) + decay * x), m, v


def hizoo_step(x, d, directions, losses, *, scale, eta, alpha, bounds, same=False, decay=0.0):
    """HiZOO; losses (K, 3) at the centre, plus and minus; returns x, D."""
    number, curvature, slopes = len(directions), np.zeros_like(d), []
    normal = [np.sqrt(d) * y for y in directions]
    for z, (centre, plus, minus) in zip(normal, losses, strict=True):
        second = abs(plus + minus - 2 * centre) / (2 * scale**2)
        curvature += second * d * z * z / number
        slopes.append((plus - minus) / (2 * scale) / number)
    after = np.clip((1 - alpha) * d + alpha * curvature, *bounds)
    used = d if same else after
    gradient = sum(c * z / np.sqrt(used) for c, z in zip(slopes, normal, strict=True))
    return x - eta * (gradient + decay * x), after


def kernel(r, half_width, degree):
    """The weight that makes E[r K(r)] = 1 and cancels higher moments, for r in [-h, h].

    The kernel of degree n integrates every polynomial p up to that degree to p'(0). In Legendre
    polynomials, of second moment 1 / (2 j + 1), that is sum_j (2 j + 1) P_j'(0) P_j.
    """
    s = np.asarray(r) / half_width
    total = 0.0
    for j in range(1, degree + 1, 2):
        p = np.eye(degree + 1)[j]
        slope = legendre.legval(0.0, legendre.legder(p))
        total = total + (2 * j + 1) * slope * legendre.legval(s, p)
    return total / half_width


def kerzoo_step(x, directions, radii, losses, *, scale, eta, half_width, degree, decay=0.0):
    """KerZOO; the directions before scaling by their radii, losses (K, 2); returns x."""
    weighted = [kernel(r, half_width, degree) * u for r, u in zip(radii, directions, strict=True)]
    return x - eta * (spsa(weighted, losses, scale) + decay * x)
