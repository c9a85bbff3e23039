# Needs Python 3.11 or newer and make. Everything else is installed into $(VENV).
PYTHON ?= python3
VENV ?= .venv

bin := $(VENV)/bin
python := $(bin)/python
installed = $(VENV)/.installed-$(1)
wheel_venv := $(VENV)-wheel

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-real test-slow mutation lint types docs notebooks wheel-test clean
.DELETE_ON_ERROR:

help:
	@echo "make quickstart   install and fine-tune a first model"
	@echo "make test         run the tests, except those marked real or slow"
	@echo "make test-real    run the tests on real models and data (needs FINETUNEKIT_DATA, see CONTRIBUTING.md)"
	@echo "make test-slow    run the slow tests"
	@echo "make mutation     list the small faults that the tests miss: MODULE=finetunekit/optimizers TESTS=tests/optimizers"
	@echo "make lint         check code with ruff: rules and formatting"
	@echo "make types        check types with mypy"
	@echo "make docs         build the documentation into site/"
	@echo "make notebooks    execute the notebooks"
	@echo "make wheel-test   build the wheel and test it in a separate environment"
	@echo "make clean        remove everything that these commands created"

quickstart: $(call installed,quickstart)
	$(python) -m finetunekit quickstart

test: $(call installed,test)
	$(python) -m pytest -n 2 -m "not real and not slow"

test-real: $(call installed,test) $(call installed,assets)
	$(python) -m pytest -n 2 -m "real"

test-slow: $(call installed,test)
	$(python) -m pytest -n 2 -m "slow and not real"

mutation: $(call installed,test)
	$(python) tools/mutation.py $(MODULE) -- $(TESTS)

lint: $(call installed,lint)
	$(python) -m ruff check
	$(python) -m ruff format --check

types: $(call installed,lint)
	$(python) -m mypy

# The variable keeps the theme's advertisement of its successor out of the output.
docs: $(call installed,docs)
	NO_MKDOCS_2_WARNING=1 $(python) -m mkdocs build --strict

notebooks: $(call installed,quickstart) $(call installed,notebooks)
	$(python) tools/run_notebooks.py

# What a user gets: the wheel alone, tried from a folder that is not the checkout.
define try_wheel
import importlib.metadata, importlib.util, pathlib, sys, numpy, finetunekit
package = pathlib.Path(finetunekit.__file__).resolve().parent
version = importlib.metadata.version("finetunekit")
print("finetunekit", version, "from", package)
if not package.is_relative_to(pathlib.Path("$(abspath $(wheel_venv))").resolve()):
    raise SystemExit("this is not the installed wheel")
contents = {str(path) for path in importlib.metadata.files("finetunekit")}
weights = [name for name in contents if name.startswith("finetunekit/backbones/") and name.endswith(".npz")]
if "finetunekit/py.typed" not in contents or not weights:
    raise SystemExit(f"py.typed or the weights are missing in the wheel: {sorted(contents)}")
for name in ("LICENSE", "NOTICE"):
    if not any(path.endswith(f".dist-info/licenses/{name}") for path in contents):
        raise SystemExit(f"{name} is missing in the wheel")
if strays := {name.split("/")[0] for name in contents} - {"finetunekit", f"finetunekit-{version}.dist-info"}:
    raise SystemExit(f"the wheel also installs {sorted(strays)}")
backbone = finetunekit.load_backbone("builtin:mobilenet_v2", input_shape=(96, 96, 3))
features = backbone.predict(numpy.zeros((1, *backbone.input_shape[1:]), "float32"), verbose=0)
if not numpy.isfinite(features).all():
    raise SystemExit("the built-in backbone predicts numbers that are not finite")
print("the built-in backbone gives", features.shape)
sys.path.append("$(abspath tests)")
import keras, torch_writer
layer = {"weight": numpy.arange(6, dtype="float32").reshape(2, 3), "bias": numpy.ones(2, "float32")}
torch_writer.save(pathlib.Path("layer.pth"), {f"0.{key}": array for key, array in layer.items()})
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
finetunekit.load_weights_from_torch(model, "layer.pth")
if not numpy.array_equal(model.get_weights()[0], layer["weight"].T):
    raise SystemExit("a torch checkpoint came out wrong")
extras = [name for name in ("torch", "safetensors", "keras_hub", "tensorflow_text") if name in sys.modules]
if extras or importlib.util.find_spec("safetensors") or importlib.util.find_spec("keras_hub"):
    raise SystemExit(f"the wheel must work without extras: {extras}")
print("a torch checkpoint is read without extras")
endef
export try_wheel

wheel-test:
	rm -rf build dist $(wheel_venv)
	$(PYTHON) -m venv $(wheel_venv)
	$(wheel_venv)/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(wheel_venv)/bin/python -m pip install --quiet dist/finetunekit-*.whl
	cd $$(mktemp -d) && $(abspath $(wheel_venv))/bin/python -c "$$try_wheel"
	cd $$(mktemp -d) && $(abspath $(wheel_venv))/bin/python -m finetunekit --help

clean:
	rm -rf $(VENV) $(wheel_venv) build dist site finetunekit.egg-info .mypy_cache .pytest_cache .ruff_cache
	find finetunekit tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(python):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "finetunekit needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

# An extra of setup.cfg is installed again only when setup.cfg or pyproject.toml has changed.
$(VENV)/.installed-%: setup.cfg pyproject.toml | $(python)
	$(python) -m pip install --quiet --editable ".[$*]"
	@touch $@

$(call installed,assets): tests/requirements-assets.txt | $(python)
	$(python) -m pip install --quiet --no-deps --requirement $<
	@touch $@
