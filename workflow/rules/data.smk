# Shell rules with constant text: a script whose file time changes would prepare again and retrain everything.


rule prepare_digits:
    output:
        "results/data/digits.npz",
    log:
        "results/logs/data/digits.log",
    message:
        "Prepare the 8x8 digits that scikit-learn carries"
    shell:
        "{PYTHON:q} -m gammascape.data.prepare digits --output {output:q} > {log:q} 2>&1"


rule prepare_mnist:
    output:
        "results/data/mnist.npz",
    log:
        "results/logs/data/mnist.log",
    params:
        source=PLAN.config.data.mnist,
    message:
        "Prepare MNIST from the files in {params.source}"
    shell:
        "{PYTHON:q} -m gammascape.data.prepare mnist --source {params.source:q}"
        " --output {output:q} > {log:q} 2>&1"
