# A rule for each group of figures; what each shows is said in src/gammascape/workflow/catalogue.py. As in tables.smk, some
# studies or slices lack a figure.


rule draw_slice:
    input:
        unpack(inputs_of("draw_slice")),
        code=code_of("draw_slice"),
    output:
        figures("portrait", "budget", "loss_curves", "collapse", of_slice=True),
    log:
        "results/logs/figures/{study}/draw_slice/{slice}.log",
    message:
        "Draw portrait, budgets and loss curves of {wildcards.slice}"
    script:
        "../scripts/figures.py"


use rule draw_slice as draw_slice_and_observables with:
    output:
        figures("portrait", "budget", "loss_curves", "collapse", of_slice=True),
        figures("observables", of_slice=True),
    wildcard_constraints:
        study=having("figures/observables/"),
    message:
        "Draw portrait, budgets, loss curves and observables of {wildcards.slice}"


rule draw_edges:
    input:
        unpack(inputs_of("draw_edges")),
        code=code_of("draw_edges"),
    output:
        figures("edges", "exponents", "sensitivity"),
    log:
        "results/logs/figures/{study}/draw_edges.log",
    message:
        "Draw the edges of training and their exponents against gamma"
    script:
        "../scripts/figures.py"


rule draw_performance:
    input:
        unpack(inputs_of("draw_performance")),
        code=code_of("draw_performance"),
    output:
        figures("performance"),
    log:
        "results/logs/figures/{study}/draw_performance.log",
    message:
        "Draw what each gamma reaches and costs in {wildcards.study}"
    script:
        "../scripts/figures.py"


rule draw_dynamics:
    input:
        unpack(inputs_of("draw_dynamics")),
        code=code_of("draw_dynamics"),
    output:
        figures("dynamics"),
    log:
        "results/logs/figures/{study}/draw_dynamics.log",
    message:
        "Draw what happens during training against gamma"
    script:
        "../scripts/figures.py"


use rule draw_dynamics as draw_dynamics_and_phenomena with:
    output:
        figures("dynamics", "phenomena"),
    wildcard_constraints:
        study=having("figures/phenomena"),


rule draw_similarity:
    input:
        unpack(inputs_of("draw_similarity")),
        code=code_of("draw_similarity"),
    output:
        figures("similarity"),
    log:
        "results/logs/figures/{study}/draw_similarity.log",
    priority: 1
    message:
        "Draw how similar the networks of {wildcards.study} are"
    script:
        "../scripts/figures.py"


use rule draw_similarity as draw_similarity_and_trend with:
    output:
        figures("similarity", "similarity_trend"),
    wildcard_constraints:
        study=having("figures/similarity_trend"),


rule draw_factors:
    input:
        unpack(inputs_of("draw_factors")),
        code=code_of("draw_factors"),
    output:
        figures("{factor}"),
    log:
        "results/logs/figures/{study}/{factor}.log",
    wildcard_constraints:
        factor="|".join(FACTORS),
    message:
        "Draw what changes with {wildcards.factor} in {wildcards.study}"
    script:
        "../scripts/figures.py"


ruleorder: draw_slice_and_observables > draw_slice
ruleorder: draw_dynamics_and_phenomena > draw_dynamics
ruleorder: draw_similarity_and_trend > draw_similarity
