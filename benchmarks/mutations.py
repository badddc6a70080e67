"""What the fast tests of objectives and recipes would not notice: faults put in one at a time, and the tests run.

    python -m benchmarks.mutations                          all of them, about 5 minutes of CPU
    python -m benchmarks.mutations --only pdcg recipe       those whose name has one of these words
    python -m benchmarks.mutations --tests FOLDER           by other tests, such as those of an earlier version

Each fault is a line of a loss, a task or a recipe that reads well and is wrong. It is put into a copy of the project,
never into the project itself. Without any fault the tests have to pass, which is looked at first. Exit status 1 if a
fault survives, 2 if they do not pass.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("cv2", "kornia", "lightning.pytorch", "pytest", "timm", "torchvision", "wandb")  # slow to load

KPN, HDCFM, DSLNET = "vitm/papers/kpn_mfi", "vitm/papers/hdcfm", "vitm/papers/dslnet"
VITM_TC, SCENE_MAP = "vitm/papers/vitm_tc", "vitm/papers/scene_map"

CHOSEN = {  # what is run for a fault in a folder, in this order, until one test fails
    KPN: ("papers/kpn_mfi/test_task.py", "papers/kpn_mfi/test_losses.py"),
    HDCFM: (
        "papers/hdcfm/test_task.py::test_steps_are_adam_s_on_equation_4",
        "papers/hdcfm/test_pdcg.py::test_mask",
    ),
    DSLNET: ("papers/dslnet/test_task.py",),
    VITM_TC: (
        "papers/vitm_tc/test_losses.py",
        "papers/vitm_tc/test_task.py::test_fcpm_s_steps_are_adam_s_on_equation_13",
        "papers/vitm_tc/test_task.py::test_icam_s_steps_are_adam_s_on_equation_8",
    ),
    SCENE_MAP: ("papers/scene_map/test_task.py",),
    "vitm/nets": ("papers/vitm_tc/test_task.py::test_fcpm_s_steps_are_adam_s_on_equation_13",),
    "vitm/training": (
        "papers/dslnet/test_task.py",
        "papers/hdcfm/test_task.py::test_steps_are_adam_s_on_the_absolute_difference",
    ),
    "vitm/baselines": ("baselines/test_task.py", "baselines/test_clip_task.py"),
    "experiments": ("papers/test_recipes.py",),
}


class Fault(NamedTuple):
    """A text of a file that occurs once, and what takes its place."""

    name: str
    file: str
    text: str
    instead: str


FAULTS = (
    Fault(
        "kpn_mfi: L_T times zero", f"{KPN}/task.py", "content + self.alpha * consistency", "content + 0 * consistency"
    ),
    Fault(
        "kpn_mfi: L_C is the squared error of frame 0",
        f"{KPN}/losses.py",
        "loss = F.l1_loss(hdr_pq, target)  # eq. 8",
        "loss = F.mse_loss(hdr_pq[:, 0], target[:, 0])",
    ),
    Fault("kpn_mfi: no tanh", f"{KPN}/losses.py", "hdr_pq.tanh(), target.tanh()", "hdr_pq, target"),
    Fault(
        "kpn_mfi: gamma from coarse to fine",
        f"{KPN}/losses.py",
        "(1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)",
        "(1, 1 / 2, 1 / 4, 1 / 8, 1 / 16)",
    ),
    Fault(
        "kpn_mfi: the later frame is left out",
        f"{KPN}/losses.py",
        "F.l1_loss(b_before, b) + F.l1_loss(b_after, b)",
        "F.l1_loss(b_before, b)",
    ),
    Fault(
        "kpn_mfi: flow the wrong way",
        f"{KPN}/losses.py",
        "self.flow(seen[:, 1], seen[:, 2])",
        "self.flow(seen[:, 2], seen[:, 1])",
    ),
    Fault("kpn_mfi: flow is always SDR's", f"{KPN}/task.py", 'else batch["hdr_pq"]\n', 'else batch["sdr"]\n'),
    Fault(
        "kpn_mfi: no gradient to the middle frame",
        f"{KPN}/losses.py",
        "torch.cat([before, current, after])",
        "torch.cat([before, current.detach(), after])",
    ),
    Fault(
        "kpn_mfi: no logarithm", f"{KPN}/losses.py", "else bilateral_blur(image).log1p()", "else bilateral_blur(image)"
    ),
    Fault(
        "kpn_mfi: printed norms are means",
        f"{KPN}/losses.py",
        'if self.reduction == "printed" else 1.0',
        "if False else 1.0",
    ),
    Fault("kpn_mfi: frame-sums are means", f"{KPN}/losses.py", "loss * hdr_pq.shape[1]", "loss"),
    Fault(
        "kpn_mfi: the content is always tanh", f"{KPN}/task.py", ", self.reduction, self.content)", ", self.reduction)"
    ),
    Fault(
        "hdcfm: learns the squared error",
        "vitm/training/task.py",
        "F.l1_loss(hdr_pq.float(), target)",
        "F.mse_loss(hdr_pq.float(), target)",
    ),
    Fault(
        "hdcfm: a rate that falls to a tenth",
        "vitm/training/optimizers.py",
        "list(milestones), 0.5)",
        "list(milestones), 0.1)",
    ),
    Fault("adam: betas are PyTorch's", "vitm/training/task.py", "Adam(groups, betas=self.betas)", "Adam(groups)"),
    Fault("pdcg: l1_weight is ignored", f"{HDCFM}/task.py", 'self.l1_weight * losses["l1"]', 'losses["l1"]'),
    Fault(
        "pdcg: perceptual_weight is ignored",
        f"{HDCFM}/task.py",
        'self.perceptual_weight * losses["perceptual"]',
        'losses["perceptual"]',
    ),
    Fault("pdcg: gan_weight is ignored", f"{HDCFM}/task.py", 'self.gan_weight * losses["gan"]', 'losses["gan"]'),
    Fault(
        "pdcg: perceptual loss of the frozen first stage",
        f"{HDCFM}/task.py",
        "self.perceptual(generated, target)",
        "self.perceptual(hdr_pq, target)",
    ),
    Fault(
        "pdcg: the generator wants to be called generated",
        f"{HDCFM}/task.py",
        "patch_loss(self.judge(generated), counts, real=True",
        "patch_loss(self.judge(generated), counts, real=False",
    ),
    Fault("pdcg: the discriminator sees no generated picture", f"{HDCFM}/task.py", "(real + fake) / 2", "real / 2"),
    Fault(
        "pdcg: L1 of the first stage's picture",
        f"{HDCFM}/task.py",
        '"l1": F.l1_loss(generated, target)',
        '"l1": F.l1_loss(hdr_pq, target)',
    ),
    Fault("pdcg: the mask begins at 0.9", f"{HDCFM}/pdcg.py", "start: float = 0.95", "start: float = 0.9"),
    Fault(
        "pdcg: highlights weigh by their size",
        f"{HDCFM}/losses.py",
        " / (weights.sum((1, 2, 3)) + 1e-6)",
        " / weights[0].numel()",
    ),
    Fault(
        "dslnet: learns the first frame of the window",
        f"{DSLNET}/task.py",
        "spare = (given - frames) // 2",
        "spare = (given - frames) // 2 and 0",
    ),
    Fault(
        "vitm_tc: flow_weight is ignored",
        f"{VITM_TC}/task.py",
        "loss + self.flow_weight * flow  # eq. 8",
        "loss + 0 * flow",
    ),
    Fault(
        "vitm_tc: the pixel loss sees what is not composed",
        f"{VITM_TC}/task.py",
        'pixel_loss(reconstruction.hdr_linear, batch["linear"][:, 0], self.pixel)',
        'pixel_loss(reconstruction.x_linear, batch["linear"][:, 0], self.pixel)',
    ),
    Fault("vitm_tc: mu is 500", f"{VITM_TC}/losses.py", "mu: float = 5000.0", "mu: float = 500.0"),
    Fault("vitm_tc: alignment at the full rate", f"{VITM_TC}/task.py", '"lr": self.lr / 2', '"lr": self.lr'),
    Fault(
        "vitm_tc: gan_weight is ignored",
        f"{VITM_TC}/task.py",
        'loss + self.gan_weight * losses["gan"]',
        'loss + losses["gan"]',
    ),
    Fault(
        "vitm_tc: the discriminator teaches the generator",
        f"{VITM_TC}/task.py",
        "mu_law(predicted.detach())",
        "mu_law(predicted)",
    ),
    Fault(
        "vitm_tc: VGG16 sees linear light",
        f"{VITM_TC}/losses.py",
        "self._distance(mu_law(predicted), mu_law(target))",
        "self._distance(predicted, target)",
    ),
    Fault(
        "vitm_tc: least squares are not halved", "vitm/nets/discriminators.py", "0.5 * F.mse_loss", "1.0 * F.mse_loss"
    ),
    Fault(
        "scene_map: the level is not matched",
        f"{SCENE_MAP}/task.py",
        "picture_loss(level_matched(prediction, wanted), wanted)",
        "picture_loss(prediction, wanted)",
    ),
    Fault("scene_map: chroma at twice its weight", f"{SCENE_MAP}/task.py", "(0.5 * t).square()", "t.square()"),
    Fault(
        "baselines: learn the first frame alone",
        "vitm/baselines/clip_task.py",
        'self.loss(self.learner(batch["sdr"]), batch["hdr_pq"])',
        'self.loss(self.learner(batch["sdr"])[:, 0], batch["hdr_pq"][:, 0])',
    ),
    Fault("recipe: kpn_mfi, alpha 0.5", "experiments/kpn_mfi/base.yaml", "alpha: 0.05", "alpha: 0.5"),
    Fault(
        "recipe: hdcfm, halved after 1,000 to 4,000 steps",
        "experiments/hdcfm/base.yaml",
        "milestones: [200000, 400000, 600000, 800000]",
        "milestones: [1000, 2000, 3000, 4000]",
    ),
    Fault("recipe: pdcg, gamma 0.05", "experiments/hdcfm/pdcg/base.yaml", "gan_weight: 0.005", "gan_weight: 0.05"),
    Fault("recipe: dslnet, a halving is missing", "experiments/dslnet/base.yaml", "270000, 310000]", "270000]"),
    Fault("recipe: vitm_tc, crops of 128", "experiments/vitm_tc/icam/base.yaml", "crop_size: 384", "crop_size: 128"),
    Fault(
        "recipe: hdcfm's ResNet by the recipe of HDCFM",
        "experiments/hdcfm/table1.yaml",
        "{<<: *recipe, lr: 2.0e-4, width: 64, blocks: 16}",
        "{<<: *recipe, width: 64, blocks: 16}",
    ),
    Fault("recipe: the task's own alpha is 0.5", f"{KPN}/task.py", "alpha: float = 0.05", "alpha: float = 0.5"),
)


def chosen_for(fault: Fault, tests: Path) -> list[str]:
    """Return the tests that are run for a fault; where there are none of these names, the files that had them."""
    folder = max((f for f in CHOSEN if fault.file.startswith(f)), key=len)
    names = CHOSEN["experiments"] if fault.name.startswith("recipe") else CHOSEN[folder]
    chosen = []
    for name in names:
        file, _, test = name.partition("::")
        if (tests / file).is_file():
            known = f"def {test}" in (tests / file).read_text(encoding="utf-8")
            chosen.append(f"tests/{name}" if known else f"tests/{file}")
    return [*dict.fromkeys(chosen)]


def survives(fault: Fault, copy: Path) -> bool:
    """Put a fault into a copy of the project and return whether its tests pass."""
    file = copy / fault.file
    original = file.read_text(encoding="utf-8")
    if original.count(fault.text) != 1:
        raise ValueError(f"{fault.file} has {original.count(fault.text)} times: {fault.text}")
    file.write_text(original.replace(fault.text, fault.instead), encoding="utf-8")
    try:
        return passes(copy, chosen_for(fault, copy / "tests"))
    finally:
        file.write_text(original, encoding="utf-8")


def passes(copy: Path, tests: list[str]) -> bool:
    """Return whether tests pass in a copy of the project; the libraries are loaded once, and the project afresh."""
    child = os.fork()
    if not child:
        os._exit(_run_tests(copy, tests))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _run_tests(copy: Path, tests: list[str]) -> int:
    import pytest

    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    os.chdir(copy)
    sys.path[:] = [str(copy), *(p for p in sys.path if Path(p or ".").resolve() != ROOT)]
    sys.dont_write_bytecode = True
    return int(pytest.main(["-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", *tests])) if tests else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="words in the names of faults")
    parser.add_argument("--tests", type=Path, default=ROOT / "tests")
    options = parser.parse_args()
    faults = [fault for fault in FAULTS if any(word in fault.name for word in options.only)]
    os.environ.setdefault("VITM_SHARED", str(ROOT.parent / "shared"))
    os.environ.setdefault("WANDB_MODE", "offline")
    for library in LIBRARIES:
        importlib.import_module(library)
    survivors = []
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy = Path(folder)
        for name, source in (("vitm", ROOT), ("experiments", ROOT), ("tests", options.tests.parent)):
            shutil.copytree(source / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        chosen = dict.fromkeys(test for fault in faults for test in chosen_for(fault, copy / "tests"))
        if not passes(copy, [*chosen]):
            print("the tests fail without any fault: there is nothing to learn from them")
            return 2
        for fault in faults:
            started = time.monotonic()
            survived = survives(fault, copy)
            survivors += [fault.name] * survived
            verdict = "SURVIVES" if survived else "noticed"
            print(f"{verdict:9}{time.monotonic() - started:5.0f} s  {fault.name}", flush=True)
    print(f"{len(survivors)} of {len(faults)} faults survive{''.join(f'{chr(10)}  {name}' for name in survivors)}")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main())
