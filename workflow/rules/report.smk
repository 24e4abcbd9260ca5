rule index:
    input:
        figures=figure_files(PLAN.studies),
        tables=table_files(PLAN.studies),
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
