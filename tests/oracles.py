"""Dense float64 NumPy twins of what the library computes, written from the formulas."""

import numpy as np


def covariance(a, damping):
    """Sigma = rho (rho I + a a^T)^-1."""
    n = len(a)
    return damping * np.linalg.inv(damping * np.eye(n) + np.outer(a, a))


def principal_root(a, damping):
    """The symmetric positive definite root, by the eigenvalues."""
    values, vectors = np.linalg.eigh(covariance(a, damping))
    return vectors @ np.diag(np.sqrt(values)) @ vectors.T


def paper_root(a, damping):
    """Equation 7 of the LOREN paper without its factor rho^-1/2; symmetric and indefinite."""
    s, total = a @ a, damping + a @ a
    kappa = (np.sqrt(damping) + np.sqrt(total)) / (s * np.sqrt(total))
    return np.eye(len(a)) - kappa * np.outer(a, a)


def paper_score(a, u, damping):
    """Equation 10 for one row: the score in terms of the normal `u` of the paper's root."""
    s, total = a @ a, damping + a @ a
    kappa = (np.sqrt(damping) + np.sqrt(total)) / (s * np.sqrt(total))
    moved = np.outer(u, u) @ a - a
    return (moved - kappa * (a @ moved) * a) / (np.sqrt(damping) * np.sqrt(total))


def log_density(a, samples, damping):
    """log N(samples; 0, Sigma), summed over the rows of `samples`, without the constant."""
    sigma = covariance(a, damping)
    _, logdet = np.linalg.slogdet(sigma)
    quadratic = np.einsum("ri,ij,rj->", samples, np.linalg.inv(sigma), samples)
    return -0.5 * len(samples) * logdet - 0.5 * quadratic


def finite_difference(fn, x, step=1e-6):
    """Central differences of a scalar function."""
    gradient = np.zeros_like(x)
    for i in range(len(x)):
        e = np.zeros_like(x)
        e[i] = step
        gradient[i] = (fn(x + e) - fn(x - e)) / (2 * step)
    return gradient


def leave_one_out(losses):
    """Score coefficients by the other form: each loss against the mean of the others."""
    k = len(losses)
    return np.array([(losses[i] - np.delete(losses, i).mean()) / k for i in range(k)])


def loren_step(x, a, momentum, directions, losses, *, scale, damping, eta, nu, beta, decay=0.0):
    """One step of LOREN on one matrix in the fan-out x fan-in view, from the formulas.

    Args:
        x: (m, n) weights. a: (n,). momentum: (m, n).
        directions: (K, m, n), the evaluated ones. losses: (K,).

    Returns:
        New x, a, momentum.
    """
    c = leave_one_out(losses)
    gradient = np.einsum("k,kmn->mn", c, directions) / scale
    s = a @ a
    scores = [len(y) * a / (damping + s) - y.T @ (y @ a) / damping for y in directions]
    momentum = beta * momentum + gradient
    x = x - eta * (momentum + decay * x)
    return x, a - nu * np.einsum("k,kn->n", c, scores), momentum
