"""How training jobs become packs on devices. Light: the process that runs Snakemake imports it."""
