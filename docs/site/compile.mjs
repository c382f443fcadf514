// Compiles the modules that the first cell of a lesson imports, with the Python of the browser, which
// is another than the one that builds the site. That halves the work of the browser before the first
// result; the rest stays source, which is half as large.
// node compile.mjs CORE PACKAGES LIBRARY: where Pyodide, the packages and Python's library are.
import { pathToFileURL } from "node:url";
import { resolve } from "node:path";

const [core, packages, library] = process.argv.slice(2).map((path) => resolve(path));
const { loadPyodide } = await import(pathToFileURL(resolve(core, "pyodide.mjs")));
const pyodide = await loadPyodide();
pyodide.mountNodeFS("/packages", packages);
pyodide.mountNodeFS("/library", library);
try {
  pyodide.runPython(`
import os, sys
from importlib import import_module
from py_compile import PycInvalidationMode, compile

sys.dont_write_bytecode = True
sys.path.insert(0, "/packages")
os.environ["LESSONS_WORKSPACE"] = "/tmp/workspace"
for name in ("piplite.piplite", "pyodide_kernel", "ipython_pygments_lexers", "pandas"):
    import_module(name)
sys.modules["pyodide_kernel"].ipython_shell.run_cell("1 / 0")  # needs what colours a traceback
import lesson_support
from lesson_support.exercises import lesson_00

for name in lesson_support.__all__:
    getattr(lesson_support, name)
lesson_support.connect("00").connect().close()

short = "python{}{}.zip".format(*sys.version_info)
there = "/lib/python{}.{}/site-packages/".format(*sys.version_info)
for module in list(sys.modules.values()):
    file = getattr(module, "__file__", None) or ""
    folder, _, name = file.partition(f"/lib/{short}/")
    if name:
        source, shown = f"/library/{name}", file
    elif file.startswith("/packages/"):
        source, shown = file, there + file.removeprefix("/packages/")
    else:
        continue
    compile(source, source + "c", shown, True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
`);
} catch (error) {
  console.error(String(error).slice(-2000)); // Node itself would print the whole of Pyodide's code
  process.exit(1);
}
