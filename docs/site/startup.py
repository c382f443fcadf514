from IPython import get_ipython

from lesson_support import browser

browser.install(get_ipython())
del browser, get_ipython
