# The slices of toys: computed at once from theory, with the tables of trained slices.


rule toy_cells:
    input:
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/cells/{slice}.parquet",
        manifest="results/{study}/tables/cells/{slice}.manifest.json",
    log:
        "results/logs/tables/{study}/cells/{slice}.log",
    wildcard_constraints:
        slice=TOYS,
    params:
        slice=lambda wildcards: PLAN.cells_params(wildcards.study, wildcards.slice),
        toy=lambda wildcards: PLAN.toy_params(wildcards.study, wildcards.slice),
    message:
        "Compute the cells of {wildcards.slice}"
    script:
        "../scripts/toy_cells.py"


rule toy_curves:
    input:
        thresholds="results/{study}/tables/thresholds/{slice}.parquet",
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/curves/{slice}.parquet",
        manifest="results/{study}/tables/curves/{slice}.manifest.json",
    log:
        "results/logs/tables/{study}/curves/{slice}.log",
    wildcard_constraints:
        slice=TOYS,
    message:
        "Compute the loss curves at the best eta of {wildcards.slice}"
    script:
        "../scripts/toy_curves.py"


rule toy_budget:
    input:
        cells="results/{study}/tables/cells/{slice}.parquet",
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/budget/{slice}.parquet",
        manifest="results/{study}/tables/budget/{slice}.manifest.json",
    log:
        "results/logs/tables/{study}/budget/{slice}.log",
    wildcard_constraints:
        slice=TOYS,
    params:
        model=lambda wildcards: PLAN.judged_params(wildcards.study, wildcards.slice),
    message:
        "Judge the cells of {wildcards.slice} at shorter budgets"
    script:
        "../scripts/toy_budget.py"
