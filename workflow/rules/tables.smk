# What each stage reads, with which parameters and functions, is said in src/gammascape/workflow/catalogue.py, and what its
# tables mean in docs/reference/tables.md. A stage has a second rule where only some studies or slices have all of its tables.
# Tables come before figures, which nothing waits for, and first the one that takes longest.


rule cells:
    input:
        unpack(inputs_of("cells")),
        code=code_of("cells"),
    output:
        tables("cells", of_slice=True),
    log:
        "results/logs/tables/{study}/cells/{slice}.log",
    priority: 1
    params:
        given=params_of("cells"),
    message:
        "Collect the cells of {wildcards.slice}"
    script:
        "../scripts/tables.py"


use rule cells as cells_and_observables with:
    output:
        tables("cells", "observables", of_slice=True),
    wildcard_constraints:
        study=having("tables/observables/"),
    message:
        "Collect the cells of {wildcards.slice} and what was measured in them"


rule edges:
    input:
        unpack(inputs_of("edges")),
        code=code_of("edges"),
    output:
        tables("thresholds", "pooled_edges", "scaling", of_slice=True),
        tables("exponent_models", "crossover", "sensitivity", of_slice=True),
        tables("budget", "apex", "curves", of_slice=True),
    log:
        "results/logs/tables/{study}/edges/{slice}.log",
    priority: 1
    params:
        given=params_of("edges"),
    message:
        "Find where training begins and ends in {wildcards.slice}"
    script:
        "../scripts/tables.py"


rule combine:
    input:
        unpack(inputs_of("combine")),
    output:
        tables("cells", "thresholds", "pooled_edges", "scaling", "exponent_models"),
        tables("crossover", "sensitivity", "budget", "apex"),
    log:
        "results/logs/tables/{study}/combine.log",
    priority: 1
    message:
        "Combine the tables of all slices of {wildcards.study}"
    script:
        "../scripts/tables.py"


use rule combine as combine_with_observables with:
    output:
        tables("cells", "thresholds", "pooled_edges", "scaling", "exponent_models"),
        tables("crossover", "sensitivity", "budget", "apex", "observables"),
    wildcard_constraints:
        study=having("tables/observables"),


rule performance:
    input:
        unpack(inputs_of("performance")),
        code=code_of("performance"),
    output:
        tables("scores", "performance", "gain"),
    log:
        "results/logs/tables/{study}/performance.log",
    priority: 1
    params:
        given=params_of("performance"),
    message:
        "Find what each gamma reaches and costs in {wildcards.study}"
    script:
        "../scripts/tables.py"


rule dynamics:
    input:
        unpack(inputs_of("dynamics")),
        code=code_of("dynamics"),
    output:
        tables("dynamics", "dynamics_scaling", "collapse"),
    log:
        "results/logs/tables/{study}/dynamics.log",
    priority: 1
    params:
        given=params_of("dynamics"),
    message:
        "Find plateaus, drops and catapults in the runs of {wildcards.study}"
    script:
        "../scripts/tables.py"


use rule dynamics as dynamics_and_phenomena with:
    output:
        tables("dynamics", "dynamics_scaling", "collapse", "phenomena"),
    wildcard_constraints:
        study=having("tables/phenomena"),


rule similarity:
    input:
        unpack(inputs_of("similarity")),
        code=code_of("similarity"),
    output:
        tables("similarity", "function_similarity"),
        tables("similarity_trend", "similarity_summary"),
    log:
        "results/logs/tables/{study}/similarity.log",
    priority: 2
    params:
        given=params_of("similarity"),
    message:
        "Compare the networks of {wildcards.study}"
    script:
        "../scripts/tables.py"


rule factors:
    input:
        unpack(inputs_of("factors")),
        code=code_of("factors"),
    output:
        tables("regimes", "trends", "transfer"),
    log:
        "results/logs/tables/{study}/factors.log",
    priority: 1
    params:
        given=params_of("factors"),
    message:
        "Compare slices of {wildcards.study} that differ in one factor"
    script:
        "../scripts/tables.py"


rule optimum:
    input:
        unpack(inputs_of("optimum")),
        code=code_of("optimum"),
    output:
        tables("optimum"),
    log:
        "results/logs/tables/{study}/optimum.log",
    priority: 1
    params:
        given=params_of("optimum"),
    message:
        "Find the best gamma of each number of samples and width in {wildcards.study}"
    script:
        "../scripts/tables.py"


rule claims:
    input:
        unpack(inputs_of("claims")),
        code=code_of("claims"),
    output:
        tables("claims"),
    log:
        "results/logs/tables/{study}/claims.log",
    priority: 1
    params:
        given=params_of("claims"),
    message:
        "Test the paper's claims on {wildcards.study}"
    script:
        "../scripts/tables.py"


rule advice:
    input:
        unpack(inputs_of("advice")),
        code=code_of("advice"),
    output:
        tables("advice"),
    log:
        "results/logs/tables/{study}/advice.log",
    priority: 1
    params:
        given=params_of("advice"),
    message:
        "Say which gamma and eta to use in {wildcards.study}"
    script:
        "../scripts/tables.py"


ruleorder: cells_and_observables > cells
ruleorder: combine_with_observables > combine
ruleorder: dynamics_and_phenomena > dynamics
