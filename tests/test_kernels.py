"""Which kernels the numeric tests run with: several on x86-64, a plain word where one cannot."""

import platform

import kernels
import pytest

OWN = {"has": ["SSE3", "SSE42", "AVX2"], "loops": ["X86_V3"], "blas": ["Haswell"]}


def test_kernels_that_the_processor_lacks_are_named():
    found = dict(kernels.plan("x86_64", OWN | {"compresses": False}, day=0))
    kinds = [type(one) for one in found.values()]
    assert kinds == [dict, str, type(None), str, str]  # Haswell is the machine's own
    assert found["SkylakeX"] == "this processor has no AVX512F"
    assert "AVX-512" in found["list of pairs by AVX-512 compress"]
    assert found["Prescott"]["NPY_DISABLE_CPU_FEATURES"] == "X86_V3"
    newer = OWN | {"has": [*OWN["has"], "AVX512F"], "compresses": True}
    found = dict(kernels.plan("AMD64", newer, day=1))
    assert found.pop("Haswell") is None
    assert "another day" in found.pop("Prescott")
    assert all(isinstance(one, dict) for one in found.values())


@pytest.mark.parametrize(("machine", "blas"), [("aarch64", ["neoversen1"]), ("x86_64", [])])
def test_where_there_are_no_such_kernels_none_is_run(machine, blas):
    ((_, found),) = kernels.plan(machine, OWN | {"blas": blas}, day=0)
    assert isinstance(found, str)


def test_compiled_code_can_be_told_to_do_without_avx_512():
    told = kernels.probe(NUMBA_CPU_NAME="generic")
    assert not told["compresses"]
    if any(told["blas"]) and platform.machine() in ("x86_64", "AMD64"):
        assert kernels.probe(OPENBLAS_CORETYPE="Nehalem")["blas"] == ["Nehalem"]
