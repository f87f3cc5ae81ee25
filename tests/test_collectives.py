"""Reading a compiled program's collectives."""

from collectives import collectives

PROGRAM = """\
HloModule jit_step, num_partitions=8

%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%x, %y)
}

%inner (p: (s32[], bf16[4,2])) -> (s32[], bf16[4,2]) {
  %r = bf16[4,2]{1,0} all-reduce(%v), channel_id=1, to_apply=%add, metadata={op_name="jit(f)/dot"}
}

%test (p: (s32[], bf16[4,2])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

%outer (p: (s32[], bf16[4,2])) -> (s32[], bf16[4,2]) {
  %w = (s32[], bf16[4,2]{1,0}) while(%t), condition=%test, body=%inner, backend_config={"known_trip_count":{"n":"3"}}
  %g = (f32[2]{0}, f32[16]{0}) all-gather-start(%v), dimensions={0}
  %done = f32[16]{0} all-gather-done(%g)
}

%left (p: f32[3]) -> f32[3] {
  %c = f32[3]{0} collective-permute(%p), source_target_pairs={{0,1}}
}

ENTRY %main (p: f32[3]) -> f32[3] {
  %w = (s32[], bf16[4,2]{1,0}) while(%t), condition=%test, body=%outer, backend_config={"known_trip_count":{"n":"5"}}
  %b = f32[3]{0} conditional(%k, %p, %p), branch_computations={%left, %left}
  %u = (s32[], pred[2]{0}) while(%t), condition=%test, body=%endless
  ROOT %a = (f32[8]{0}, pred[3]{0}) all-to-all(%p, %q), dimensions={0}
}

%endless (p: (s32[], pred[2])) -> (s32[], pred[2]) {
  %e = f8e4m3fn[2]{0} reduce-scatter(%v), to_apply=%add
}
"""  # noqa: E501


def test_loops_branches_and_pairs_are_counted():
    found = {(c.kind, c.bytes, c.times, c.source) for c in collectives(PROGRAM)}
    assert found == {
        ("all-reduce", 16, 15, "jit(f)/dot"),
        ("all-gather", 64, 5, ""),
        ("collective-permute", 12, 1, ""),
        ("reduce-scatter", 2, None, ""),
        ("all-to-all", 35, 1, ""),
    }
    assert sum(c.kind == "collective-permute" for c in collectives(PROGRAM)) == 2
