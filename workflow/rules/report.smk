rule provenance:
    input:
        figures=lambda wildcards: [
            f"{stem}.svg" for stem in PLAN.figures(wildcards.study)
        ],
        tables=lambda wildcards: table_files([wildcards.study]),
        cells=lambda wildcards: study_cells(wildcards, "manifest.json"),
        code=FIGURES_CODE,
    output:
        report(
            "results/{study}/provenance.html",
            caption="../report/provenance.rst",
            category="{study}",
            subcategory="Provenance",
            labels={"figure": "provenance", "slice": "all"},
        ),
        manifest="results/{study}/provenance.manifest.json",
    log:
        "results/logs/{study}/provenance.log",
    message:
        "Say where the results of {wildcards.study} come from"
    script:
        "../scripts/provenance.py"


rule index:
    input:
        figures=figure_files(PLAN.studies),
        tables=table_files(PLAN.studies),
        provenance=expand("results/{study}/provenance.html", study=PLAN.studies),
        code=FIGURES_CODE,
    output:
        "results/index.html",
        manifest="results/index.manifest.json",
    log:
        "results/logs/index.log",
    params:
        studies={
            name: {
                "description": study.description,
                "figures": PLAN.figures(name),
                "tables": PLAN.tables(name),
            }
            for name, study in PLAN.studies.items()
        },
    message:
        "Write the page results/index.html"
    script:
        "../scripts/index.py"
