rule explorer:
    input:
        unpack(inputs_of("explorer")),
        code=code_of("explorer"),
    output:
        report(
            "results/{study}/explorer.html",
            caption="../report/explorer.rst",
            category="{study}",
            subcategory="Explorer",
            labels={"figure": "explorer", "slice": "all"},
        ),
        manifest="results/{study}/explorer.manifest.json",
    log:
        "results/logs/{study}/explorer.log",
    # No other page or figure takes as long.
    priority: 1
    params:
        planned=lambda wildcards: params_of("explorer")(wildcards)["planned"],
        thresholds=lambda wildcards: params_of("explorer")(wildcards)["thresholds"],
    message:
        "Write the explorer of {wildcards.study}"
    script:
        "../scripts/explorer.py"


rule provenance:
    input:
        unpack(inputs_of("provenance")),
        code=code_of("provenance"),
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
        unpack(inputs_of("index")),
        code=code_of("index"),
    output:
        "results/index.html",
        manifest="results/index.manifest.json",
    log:
        "results/logs/index.log",
    params:
        studies=RESULTS.catalogue["results/index.manifest.json"].params["studies"],
    message:
        "Write the page results/index.html"
    script:
        "../scripts/index.py"
