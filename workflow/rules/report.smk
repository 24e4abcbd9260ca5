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
