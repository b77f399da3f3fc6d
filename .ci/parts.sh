# What the scripts here share: parts, one after the other or beside one another, each timed; sourced, not run.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d) beside=
trap '[ -z "$beside" ] || kill -- "-$beside" 2>/dev/null || true; rm -rf "$work"' EXIT
export EMDREF_CACHE_DIR="$work/cache"  # cold, and private to this run
bin=bin
if [ "${OS:-}" = Windows_NT ]; then bin=Scripts; fi  # of a virtual environment
unset PYTHONDONTWRITEBYTECODE  # what Python compiles it keeps, as for users

readme_command() {  # the one line of the README's block marked <!-- newcomer: $1 -->
  awk -v tag="<!-- newcomer: $1 -->" 'index($0, tag) {found = 1; next} found && /^```/ {if (++fence == 2) exit; next} fence == 1' README.md
}

part() {  # NAME COMMAND...: run it now, in a shell of its own, for parts export what others must not see
  printf '\n== %s (%d s)\n' "$1" "$SECONDS"
  local start=$SECONDS name=$1 && shift
  ("$@")
  echo "$((SECONDS - start)) $name" >>"$work/seconds"
}

beside() {  # COMMAND...: parts that run beside what follows; `meet` waits for them
  set -m  # in a process group, which ends as a whole
  ("$@") >"$work/beside.out" 2>&1 &
  set +m
  beside=$!
}

meet() {  # wait for what runs beside, and show it
  local failed=0
  if [ "$beside" ]; then
    wait "$beside" || failed=1
    printf '\n== beside all that:\n'
    cat "$work/beside.out"
  fi
  beside=
  return "$failed"
}

environment() {  # NAME REQUIREMENT...: a fresh virtual environment
  python3 -m venv "$work/$1"
  "$work/$1/$bin/python" -m pip install --quiet "${@:2}"
}

extended() {  # NAME REQUIREMENT...: one that sees what `python` has, and installs only what that lacks
  local path="import sysconfig; print(sysconfig.get_path('purelib'))"
  python3 -m venv "$work/$1"
  python -c "$path" >"$("$work/$1/$bin/python" -c "$path")/others.pth"
  "$work/$1/$bin/python" -m pip install --quiet "${@:2}"
}

lint() {  # what pre-commit looks at before a commit, over all files
  python -m pip install --quiet '.[lint]'
  pre-commit run --all-files --show-diff-on-failure
}

types() {  # the library by setup.cfg's [mypy], and a user's code
  python -m pip install --quiet mypy
  python -m mypy
  python -m mypy --strict tests/project/typed_usage.py
}

uncompiled() {  # the formulas as plain Python
  NUMBA_DISABLE_JIT=1 python -m pytest -q -n 0 tests/*/test_{printed,sinkhorn,hessian,layers}.py \
    -k "printed or definition or infinite or zeros_are_stable"
}

for_gpus() {  # TIER OPTION...: what compiles for GPUs without one: kernels to PTX; then as Python, in a simulated GPU
  local tier=$1 && shift
  extended gpu --editable '.[test,test-gpu]'
  export PATH="$work/gpu/bin:$PATH"
  python -W error -m pytest -q -n 0 -m "$tier" "$@" tests/gpu/test_{gpu_support,ptx}.py emdref/kernels/cuda
  export NUMBA_ENABLE_CUDASIM=1 NUMBA_DISABLE_JIT=1
  python -m analysis gpu --toy --out "$work/simulated"
  python -m pytest -q -n 2 -m "gpu and ($tier)" tests
}

trained() {  # -m EXPRESSION: torch, JAX, recordings, and the experiments at toy size
  export PATH="$work/extras/bin:$PATH"
  environment extras --editable '.[test,torch,jax,records]'
  python -m analysis training --toy --out "$work/trained"
  python -m analysis training --redraw --out "$work/trained"
  python -m pytest -q -n 0 "$@" tests/*/test_{torch,jax,extras,records,training,hierarchy,breathing}.py emdref/{torch,jax}.py
}

browser() {  # where Chromium or Chrome is; Debian's, if there is none
  command -v chromium || command -v chromium-browser || command -v google-chrome && return
  apt-get -qq update >&2 && apt-get -qq install --no-install-recommends chromium fonts-dejavu-core >&2
  command -v chromium
}

site() {  # the site, its gallery computed; the page to play with: its numbers by Node, then itself in a browser
  extended site --editable '.[docs]' playwright
  export PATH="$work/site/bin:$PATH"
  python -m sphinx -W --quiet docs docs/_build
  ! grep -rlE '<[a-z]+[^>]* (src|srcset)="(https?:)?//|<link[^>]* href="(https?:)?//' --include='*.html' docs/_build ||
    { echo "these pages ask another host"; return 1; }
  node --test docs/live/tests/*.test.mjs
  CHROMIUM=$(browser) python -m pytest -q -p no:cacheprovider docs/live/tests/page_test.py
}

release_files() {  # sdist and wheel as they are published, checked; the wheel alone, without what only figures need
  environment build build twine check-wheel-contents mypy
  local tools="$work/build/$bin"
  "$tools/python" -m build --quiet --outdir "$work/dist"
  "$tools/twine" check --strict "$work"/dist/*
  "$tools/check-wheel-contents" --toplevel emdref,emdref_pytest.py "$work"/dist/*.whl
  python .ci/contents.py "$work"/dist/*
  environment clean "$work"/dist/*.whl
  cp tests/project/typed_usage.py "$work"  # whose types are those of the wheel, by its py.typed
  (cd "$work" && "build/$bin/python" -m mypy --strict --python-executable "clean/$bin/python" typed_usage.py)
  (cd "$work" && "clean/$bin/python" -W error -c "
import emdref
tree = emdref.wordnet_tree()
assert tree.diameter == 26, tree.diameter
print(emdref.__file__, emdref.emd([1, 0], [0, 1], emdref.Chain(2)))")
  if "$work/clean/$bin/python" -m analysis slides --out "$work/none" 2>"$work/refused"; then exit 1; fi
  grep "python3 -m pip install --editable '.\[analysis\]'" "$work/refused"
}

toys() {  # GROUP: its scripts as they are, processes of their own and all, drawn again from their tables; another tree
  printf '((cat:1,dog:2):1,fish:3);' >"$work/pets.nwk"
  python -m analysis "$1" --toy --out "$work/toys"
  python -m analysis "$1" --redraw --out "$work/toys" >/dev/null
  local tree=(--toy --tree "$work/pets.nwk")  # the tests have a chain
  python -m analysis figure3_stability figure3_rescue sinkhorn_limits "${tree[@]}" --out "$work/toys-other" >/dev/null
  python -m analysis sweep "${tree[@]}" --out "$work/toys-sweep" >/dev/null
}

finish() {
  meet
  printf '\n== seconds of each part\n'
  cat "$work/seconds"
  printf '\n== all green (%d s)\n' "$SECONDS"
}
