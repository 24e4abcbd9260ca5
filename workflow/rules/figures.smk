rule portrait:
    input:
        cells="results/{study}/tables/cells/{slice}.parquet",
        thresholds="results/{study}/tables/thresholds/{slice}.parquet",
        scaling="results/{study}/tables/scaling/{slice}.parquet",
        code=FIGURES_CODE,
    output:
        "results/{study}/figures/portrait/{slice}.json",
        "results/{study}/figures/portrait/{slice}.html",
        report(
            "results/{study}/figures/portrait/{slice}.svg",
            caption="../report/portrait.rst",
            category="{study}",
            subcategory="Phase portraits",
            labels={"figure": "phase portrait", "slice": "{slice}"},
        ),
        "results/{study}/figures/portrait/{slice}.png",
        manifest="results/{study}/figures/portrait/{slice}.manifest.json",
    log:
        "results/logs/figures/{study}/portrait/{slice}.log",
    message:
        "Draw the phase portrait of {wildcards.slice}"
    script:
        "../scripts/portrait.py"


rule loss_curves:
    input:
        curves="results/{study}/tables/curves/{slice}.parquet",
        code=FIGURES_CODE,
    output:
        "results/{study}/figures/loss_curves/{slice}.json",
        "results/{study}/figures/loss_curves/{slice}.html",
        report(
            "results/{study}/figures/loss_curves/{slice}.svg",
            caption="../report/loss_curves.rst",
            category="{study}",
            subcategory="Loss curves",
            labels={"figure": "loss in steps", "slice": "{slice}"},
        ),
        "results/{study}/figures/loss_curves/{slice}.png",
        manifest="results/{study}/figures/loss_curves/{slice}.manifest.json",
    log:
        "results/logs/figures/{study}/loss_curves/{slice}.log",
    message:
        "Draw the loss curves of {wildcards.slice}"
    script:
        "../scripts/loss_curves.py"


rule collapse:
    input:
        curves="results/{study}/tables/curves/{slice}.parquet",
        code=FIGURES_CODE,
    output:
        "results/{study}/figures/collapse/{slice}.json",
        "results/{study}/figures/collapse/{slice}.html",
        report(
            "results/{study}/figures/collapse/{slice}.svg",
            caption="../report/collapse.rst",
            category="{study}",
            subcategory="Loss curves",
            labels={"figure": "loss in rescaled time", "slice": "{slice}"},
        ),
        "results/{study}/figures/collapse/{slice}.png",
        manifest="results/{study}/figures/collapse/{slice}.manifest.json",
    log:
        "results/logs/figures/{study}/collapse/{slice}.log",
    message:
        "Draw the loss curves of {wildcards.slice} in rescaled time"
    script:
        "../scripts/collapse.py"


rule edges:
    input:
        thresholds="results/{study}/tables/thresholds.parquet",
        scaling="results/{study}/tables/scaling.parquet",
        code=FIGURES_CODE,
    output:
        "results/{study}/figures/edges.json",
        "results/{study}/figures/edges.html",
        report(
            "results/{study}/figures/edges.svg",
            caption="../report/edges.rst",
            category="{study}",
            subcategory="Across slices",
            labels={"figure": "edges of training", "slice": "all"},
        ),
        "results/{study}/figures/edges.png",
        manifest="results/{study}/figures/edges.manifest.json",
    log:
        "results/logs/figures/{study}/edges.log",
    message:
        "Draw the edges of training against gamma"
    script:
        "../scripts/edges.py"


rule exponents:
    input:
        scaling="results/{study}/tables/scaling.parquet",
        models="results/{study}/tables/exponent_models.parquet",
        code=FIGURES_CODE,
    output:
        "results/{study}/figures/exponents.json",
        "results/{study}/figures/exponents.html",
        report(
            "results/{study}/figures/exponents.svg",
            caption="../report/exponents.rst",
            category="{study}",
            subcategory="Across slices",
            labels={"figure": "exponents", "slice": "all"},
        ),
        "results/{study}/figures/exponents.png",
        manifest="results/{study}/figures/exponents.manifest.json",
    log:
        "results/logs/figures/{study}/exponents.log",
    message:
        "Draw the exponents of the largest learning rates"
    script:
        "../scripts/exponents.py"


rule sensitivity_chart:
    input:
        sensitivity="results/{study}/tables/sensitivity.parquet",
        code=FIGURES_CODE,
    output:
        "results/{study}/figures/sensitivity.json",
        "results/{study}/figures/sensitivity.html",
        report(
            "results/{study}/figures/sensitivity.svg",
            caption="../report/sensitivity_chart.rst",
            category="{study}",
            subcategory="Across slices",
            labels={"figure": "sensitivity to thresholds", "slice": "all"},
        ),
        "results/{study}/figures/sensitivity.png",
        manifest="results/{study}/figures/sensitivity.manifest.json",
    log:
        "results/logs/figures/{study}/sensitivity.log",
    message:
        "Draw how thresholds move the edges of training"
    script:
        "../scripts/sensitivity_chart.py"


rule budget_chart:
    input:
        budget="results/{study}/tables/budget/{slice}.parquet",
        apex="results/{study}/tables/apex/{slice}.parquet",
        code=FIGURES_CODE,
    output:
        "results/{study}/figures/budget/{slice}.json",
        "results/{study}/figures/budget/{slice}.html",
        report(
            "results/{study}/figures/budget/{slice}.svg",
            caption="../report/budget_chart.rst",
            category="{study}",
            subcategory="Budgets",
            labels={"figure": "budget of steps", "slice": "{slice}"},
        ),
        "results/{study}/figures/budget/{slice}.png",
        manifest="results/{study}/figures/budget/{slice}.manifest.json",
    log:
        "results/logs/figures/{study}/budget/{slice}.log",
    message:
        "Draw what a larger budget opens in {wildcards.slice}"
    script:
        "../scripts/budget_chart.py"


rule performance_chart:
    input:
        scores="results/{study}/tables/scores.parquet",
        performance="results/{study}/tables/performance.parquet",
        gain="results/{study}/tables/gain.parquet",
        code=FIGURES_CODE,
    output:
        "results/{study}/figures/performance.json",
        "results/{study}/figures/performance.html",
        report(
            "results/{study}/figures/performance.svg",
            caption="../report/performance_chart.rst",
            category="{study}",
            subcategory="Across slices",
            labels={"figure": "performance and cost", "slice": "all"},
        ),
        "results/{study}/figures/performance.png",
        manifest="results/{study}/figures/performance.manifest.json",
    log:
        "results/logs/figures/{study}/performance.log",
    message:
        "Draw what each gamma reaches and costs in {wildcards.study}"
    script:
        "../scripts/performance_chart.py"


rule along_factor:
    input:
        regimes="results/{study}/tables/regimes.parquet",
        trends="results/{study}/tables/trends.parquet",
        performance=lambda wildcards: trained_table(wildcards.study, "performance"),
        code=FIGURES_CODE,
    output:
        "results/{study}/figures/{factor}.json",
        "results/{study}/figures/{factor}.html",
        report(
            "results/{study}/figures/{factor}.svg",
            caption="../report/along_factor.rst",
            category="{study}",
            subcategory="Across slices",
            labels={"figure": "along {factor}", "slice": "all"},
        ),
        "results/{study}/figures/{factor}.png",
        manifest="results/{study}/figures/{factor}.manifest.json",
    log:
        "results/logs/figures/{study}/{factor}.log",
    wildcard_constraints:
        factor="|".join(FACTORS),
    message:
        "Draw what changes with {wildcards.factor} in {wildcards.study}"
    script:
        "../scripts/along_factor.py"


rule similarity_map:
    input:
        similarity="results/{study}/tables/similarity.parquet",
        code=FIGURES_CODE,
    output:
        "results/{study}/figures/similarity.json",
        "results/{study}/figures/similarity.html",
        report(
            "results/{study}/figures/similarity.svg",
            caption="../report/similarity_map.rst",
            category="{study}",
            subcategory="Across slices",
            labels={"figure": "similarity of representations", "slice": "all"},
        ),
        "results/{study}/figures/similarity.png",
        manifest="results/{study}/figures/similarity.manifest.json",
    log:
        "results/logs/figures/{study}/similarity.log",
    message:
        "Draw the similarity of representations"
    script:
        "../scripts/similarity_map.py"


rule similarity_trend_chart:
    input:
        trend="results/{study}/tables/similarity_trend.parquet",
        summary="results/{study}/tables/similarity_summary.parquet",
        code=FIGURES_CODE,
    output:
        "results/{study}/figures/similarity_trend.json",
        "results/{study}/figures/similarity_trend.html",
        report(
            "results/{study}/figures/similarity_trend.svg",
            caption="../report/similarity_trend_chart.rst",
            category="{study}",
            subcategory="Across slices",
            labels={"figure": "similarity against gamma", "slice": "all"},
        ),
        "results/{study}/figures/similarity_trend.png",
        manifest="results/{study}/figures/similarity_trend.manifest.json",
    log:
        "results/logs/figures/{study}/similarity_trend.log",
    message:
        "Draw the similarity against gamma"
    script:
        "../scripts/similarity_trend_chart.py"


rule observables_chart:
    input:
        observables="results/{study}/tables/observables/{slice}.parquet",
        thresholds="results/{study}/tables/thresholds/{slice}.parquet",
        curves="results/{study}/tables/curves/{slice}.parquet",
        code=FIGURES_CODE,
    output:
        "results/{study}/figures/observables/{slice}.json",
        "results/{study}/figures/observables/{slice}.html",
        report(
            "results/{study}/figures/observables/{slice}.svg",
            caption="../report/observables_chart.rst",
            category="{study}",
            subcategory="Observables",
            labels={"figure": "observables", "slice": "{slice}"},
        ),
        "results/{study}/figures/observables/{slice}.png",
        manifest="results/{study}/figures/observables/{slice}.manifest.json",
    log:
        "results/logs/figures/{study}/observables/{slice}.log",
    message:
        "Draw what was measured during the runs of {wildcards.slice}"
    script:
        "../scripts/observables_chart.py"
