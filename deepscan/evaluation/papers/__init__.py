"""The papers' tables, figure by figure as they are printed."""
