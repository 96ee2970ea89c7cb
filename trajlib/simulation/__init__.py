"""Simulated flights, whose causes are known."""
