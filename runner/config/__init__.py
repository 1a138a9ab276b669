"""From sync.yaml to a checked, frozen Configuration. One module a step, and `build` reads like the pipeline:

    load      text -> nodes that know their line and column; YAML without its traps
    include   several files -> one document
    template  {{ ... }} in values -> text, or a Secret; sandboxed
    aliases   DataSync's names and values -> ours
    schema    sync.schema.json with every driver's options composed in
    check     nodes against the schema -> one Diagnostic a fault
    sections, schedule, crosscheck, build   nodes -> Task, and what no schema can say
    describe  Task -> settings for reports, and the digests
    sample, reference   the schema -> a commented sync.yaml, and docs/sync-yaml.md

Entry point: `runner.config.build.load_configuration`. Nothing here touches a location.
"""
