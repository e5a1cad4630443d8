"""Who is measured: one module for each, one surface for all (base.Contender)."""
