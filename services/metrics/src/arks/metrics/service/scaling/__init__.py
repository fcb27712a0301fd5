"""Autoscalers: what is measured of their applications, decided, and written."""
