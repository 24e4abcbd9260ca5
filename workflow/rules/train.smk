# The cell's parameters travel as one canonical text, because Snakemake compares params as an unordered set of
# values. Data are `ancient`: preparing them again gives the same content, which the tables check, and copies of a
# user's source files are named by their content.


rule train:
    input:
        data=ancient(lambda wildcards: PLAN.reads(wildcards.cell)),
    output:
        summary="results/cells/{cell}/summary.json",
        arrays="results/cells/{cell}/arrays.npz",
        manifest="results/cells/{cell}/manifest.json",
    log:
        "results/logs/cells/{cell}.log",
    params:
        cell=lambda wildcards: PLAN.cells[wildcards.cell].canonical(),
    message:
        "Train {wildcards.cell}"
    shell:
        "{PYTHON:q} -m gammascape.train --cell {params.cell:q} --data {input.data:q}"
        " --output results/cells/{wildcards.cell} > {log:q} 2>&1"
