# make demo   build a small story model, verify it bit for bit on two emulated cores, let it talk,
#             predict its speed on phones and boards
# make test   everything: rules of the house, units, every op and kernel on every core, end to end
# make lint   only the style
#
# Each makes the machine ready first; .ci/setup says how, and does nothing when it is.

bin     := .venv/bin
c_files  = $(shell find targets tests -name '*.[ch]')

.PHONY: demo test lint clean

demo:
	@.ci/setup run
	rm -rf out/stories
	$(bin)/bitexport build samples/stories/model --target arm64 -o out/stories
	$(bin)/bitexport verify out/stories --core cortex-a53 --core cortex-a76
	$(bin)/bitexport run out/stories "Once upon a time" -n 100
	$(bin)/bitexport bench devices out/stories --html out/stories-devices.html > out/stories-devices.txt
	@echo "predicted on phones and boards: out/stories-devices.html"

test:
	@.ci/setup test
	$(bin)/pytest -n auto --dist loadfile

lint:
	@.ci/setup test
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/clang-format --dry-run -Werror $(c_files)

clean:
	rm -rf out .venv
