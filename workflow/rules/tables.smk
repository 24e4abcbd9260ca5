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
        model=lambda wildcards: PLAN.judged_params(wildcards.study, wildcards.slice),
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


rule pooled_edges:
    input:
        thresholds="results/{study}/tables/thresholds/{slice}.parquet",
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/pooled_edges/{slice}.parquet",
        manifest="results/{study}/tables/pooled_edges/{slice}.manifest.json",
    log:
        "results/logs/tables/{study}/pooled_edges/{slice}.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Put the seeds' edges of {wildcards.slice} together"
    script:
        "../scripts/pooled_edges.py"


rule exponent_models:
    input:
        thresholds="results/{study}/tables/thresholds/{slice}.parquet",
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/exponent_models/{slice}.parquet",
        manifest="results/{study}/tables/exponent_models/{slice}.manifest.json",
    log:
        "results/logs/tables/{study}/exponent_models/{slice}.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Compare exponents of {wildcards.slice}"
    script:
        "../scripts/exponent_models.py"


rule crossover:
    input:
        thresholds="results/{study}/tables/thresholds/{slice}.parquet",
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/crossover/{slice}.parquet",
        manifest="results/{study}/tables/crossover/{slice}.manifest.json",
    log:
        "results/logs/tables/{study}/crossover/{slice}.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Find where the edges of {wildcards.slice} bend"
    script:
        "../scripts/crossover.py"


rule sensitivity:
    input:
        cells="results/{study}/tables/cells/{slice}.parquet",
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/sensitivity/{slice}.parquet",
        manifest="results/{study}/tables/sensitivity/{slice}.manifest.json",
    log:
        "results/logs/tables/{study}/sensitivity/{slice}.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
        model=lambda wildcards: PLAN.judged_params(wildcards.study, wildcards.slice),
    message:
        "Move the thresholds of {wildcards.slice}"
    script:
        "../scripts/sensitivity.py"


rule budget:
    input:
        cells="results/{study}/tables/cells/{slice}.parquet",
        arrays=lambda wildcards: slice_cells(wildcards, "arrays.npz"),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/budget/{slice}.parquet",
        manifest="results/{study}/tables/budget/{slice}.manifest.json",
    log:
        "results/logs/tables/{study}/budget/{slice}.log",
    wildcard_constraints:
        slice=TRAINED,
    params:
        model=lambda wildcards: PLAN.judged_params(wildcards.study, wildcards.slice),
    message:
        "Judge the cells of {wildcards.slice} at shorter budgets"
    script:
        "../scripts/budget.py"


rule apex:
    input:
        budget="results/{study}/tables/budget/{slice}.parquet",
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/apex/{slice}.parquet",
        manifest="results/{study}/tables/apex/{slice}.manifest.json",
    log:
        "results/logs/tables/{study}/apex/{slice}.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Find where the window of {wildcards.slice} closes"
    script:
        "../scripts/apex.py"


rule combine:
    input:
        slices=lambda wildcards: slice_tables(wildcards, wildcards.table),
    output:
        "results/{study}/tables/{table}.parquet",
        manifest="results/{study}/tables/{table}.manifest.json",
    log:
        "results/logs/tables/{study}/{table}.log",
    wildcard_constraints:
        table="|".join([*PLAN.slice_tables, "observables"]),
    message:
        "Put the slices' {wildcards.table} into one table"
    script:
        "../scripts/combine.py"


rule scores:
    input:
        cells="results/{study}/tables/cells.parquet",
        summaries=lambda wildcards: study_cells(wildcards, "summary.json"),
        arrays=lambda wildcards: study_cells(wildcards, "arrays.npz"),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/scores.parquet",
        manifest="results/{study}/tables/scores.manifest.json",
    log:
        "results/logs/tables/{study}/scores.log",
    message:
        "Take the best over eta of each gamma and seed of {wildcards.study}"
    script:
        "../scripts/scores.py"


rule performance:
    input:
        scores="results/{study}/tables/scores.parquet",
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/performance.parquet",
        manifest="results/{study}/tables/performance.manifest.json",
    log:
        "results/logs/tables/{study}/performance.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Put the scores of all seeds of {wildcards.study} together"
    script:
        "../scripts/performance.py"


rule gain:
    input:
        scores="results/{study}/tables/scores.parquet",
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/gain.parquet",
        manifest="results/{study}/tables/gain.manifest.json",
    log:
        "results/logs/tables/{study}/gain.log",
    params:
        analysis=lambda wildcards: PLAN.scaling_params(wildcards.study),
    message:
        "Compare the best gamma with gamma = 1 in {wildcards.study}"
    script:
        "../scripts/gain.py"


rule regimes:
    input:
        cells="results/{study}/tables/cells.parquet",
        thresholds="results/{study}/tables/thresholds.parquet",
        scaling="results/{study}/tables/scaling.parquet",
        gain=lambda wildcards: trained_table(wildcards.study, "gain"),
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/regimes.parquet",
        manifest="results/{study}/tables/regimes.manifest.json",
    log:
        "results/logs/tables/{study}/regimes.log",
    params:
        compared=lambda wildcards: PLAN.compared_params(wildcards.study),
    message:
        "Compare slices of {wildcards.study} that differ in one factor"
    script:
        "../scripts/regimes.py"


rule trends:
    input:
        regimes="results/{study}/tables/regimes.parquet",
        code=ANALYSIS_CODE,
    output:
        "results/{study}/tables/trends.parquet",
        manifest="results/{study}/tables/trends.manifest.json",
    log:
        "results/logs/tables/{study}/trends.log",
    message:
        "Fit lines along the factors of {wildcards.study}"
    script:
        "../scripts/trends.py"
