"""Notebooks run as stages, and the HTML report made of them."""
