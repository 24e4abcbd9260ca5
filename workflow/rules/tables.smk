rule cells:
    input:
        summaries=lambda wildcards: slice_cells(wildcards, "summary.json"),
        manifests=lambda wildcards: slice_cells(wildcards, "manifest.json"),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/cells/{slice}.parquet",
        manifest="results/{study}/tables/cells/{slice}.manifest.json",
    log:
        "results/logs/tables/{study}/cells/{slice}.log",
    wildcard_constraints:
        slice=TRAINED,
    params:
        slice=lambda wildcards: PLAN.cells_params(wildcards.study, wildcards.slice),
    message:
        "Collect the cells of {wildcards.slice}"
    script:
        "../scripts/cells.py"


rule thresholds:
    input:
        cells="results/{study}/tables/cells/{slice}.parquet",
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/thresholds/{slice}.parquet",
        manifest="results/{study}/tables/thresholds/{slice}.manifest.json",
    log:
        "results/logs/tables/{study}/thresholds/{slice}.log",
    params:
        model=lambda wildcards: {
            "depth_exponent": PLAN.slice(
                wildcards.study, wildcards.slice
            ).depth_exponent
        },
    message:
        "Find where training begins and ends in {wildcards.slice}"
    script:
        "../scripts/thresholds.py"


rule scaling:
    input:
        thresholds="results/{study}/tables/thresholds/{slice}.parquet",
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/scaling/{slice}.parquet",
        manifest="results/{study}/tables/scaling/{slice}.manifest.json",
    log:
        "results/logs/tables/{study}/scaling/{slice}.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Fit exponents to the edges of {wildcards.slice}"
    script:
        "../scripts/scaling.py"


rule curves:
    input:
        thresholds="results/{study}/tables/thresholds/{slice}.parquet",
        arrays=lambda wildcards: slice_cells(wildcards, "arrays.npz"),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/curves/{slice}.parquet",
        manifest="results/{study}/tables/curves/{slice}.manifest.json",
    log:
        "results/logs/tables/{study}/curves/{slice}.log",
    wildcard_constraints:
        slice=TRAINED,
    message:
        "Take the loss curves at the best eta of {wildcards.slice}"
    script:
        "../scripts/curves.py"


rule observables:
    input:
        summaries=lambda wildcards: slice_cells(wildcards, "summary.json"),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/observables/{slice}.parquet",
        manifest="results/{study}/tables/observables/{slice}.manifest.json",
    log:
        "results/logs/tables/{study}/observables/{slice}.log",
    params:
        labels=lambda wildcards: PLAN.labels(wildcards.study, wildcards.slice),
    message:
        "Collect what was measured during the runs of {wildcards.slice}"
    script:
        "../scripts/observables.py"


rule combine:
    input:
        slices=lambda wildcards: slice_tables(wildcards, wildcards.table),
    output:
        "results/{study}/tables/{table}.parquet",
        manifest="results/{study}/tables/{table}.manifest.json",
    log:
        "results/logs/tables/{study}/{table}.log",
    wildcard_constraints:
        table="cells|thresholds|scaling|observables",
    message:
        "Put the slices' {wildcards.table} into one table"
    script:
        "../scripts/combine.py"


rule similarity:
    input:
        thresholds="results/{study}/tables/thresholds.parquet",
        arrays=lambda wildcards: study_cells(wildcards, "arrays.npz"),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/similarity.parquet",
        manifest="results/{study}/tables/similarity.manifest.json",
    log:
        "results/logs/tables/{study}/similarity.log",
    message:
        "Compare representations across models and gammas of {wildcards.study}"
    script:
        "../scripts/similarity.py"
