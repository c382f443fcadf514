"""The one style sheet of all displays. Colours come from JupyterLab's own variables, so that light and
dark both work; the values after the commas serve where those variables do not exist."""

CSS = """<style>
.ls{color:var(--jp-content-font-color1,inherit);font-family:var(--jp-content-font-family,sans-serif);\
font-size:var(--jp-content-font-size1,14px);line-height:1.45;margin:4px 0}
.ls.ls code,.ls.ls pre{font-family:var(--jp-code-font-family,monospace);font-size:.93em;background:none;\
color:inherit;padding:0;margin:0;border:0}
.ls code{overflow-wrap:anywhere}
.ls table code{overflow-wrap:normal}
.ls summary{cursor:pointer}
.ls-ready{border-left:4px solid var(--jp-success-color1,#388e3c);padding:4px 10px}
.ls-sql{border-left:4px solid var(--jp-brand-color1,#1976d2);padding:2px 0 4px 10px}
.ls-sql>summary{font-weight:600}
.ls .ls-line{margin:8px 0 2px;color:var(--jp-content-font-color2,#666)}
.ls .ls-line code{color:var(--jp-content-font-color1,inherit)}
.ls .ls-mark{font-weight:600;margin:4px 0 4px 12px;letter-spacing:.04em;font-size:.86em}
.ls.ls pre.ls-stmt{margin:4px 0 0 12px;padding:4px 8px;white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere;\
background:var(--jp-cell-editor-background,rgba(127,127,127,.1))}
.ls .ls-said{margin:0 0 6px 12px;padding:0 8px;color:var(--jp-content-font-color1,inherit)}
.ls .ls-said div:last-child{font-style:italic}
.ls .ls-quiet{margin:4px 0 4px 12px;color:var(--jp-content-font-color2,#666)}
.ls.ls .ls-quiet pre{white-space:pre-wrap;margin-left:14px}
.ls .k{color:var(--jp-mirror-editor-keyword-color,#008000);font-weight:600}
.ls .s{color:var(--jp-mirror-editor-string-color,#ba2121)}
.ls .ls-side{display:inline-block;vertical-align:top;margin:6px 28px 6px 0}
.ls .ls-title{font-weight:600}
.ls.ls table{border-collapse:collapse;margin:2px 0;font-size:.93em}
.ls.ls table caption{text-align:left;padding:2px 0;font-weight:600;caption-side:top;\
color:var(--jp-content-font-color1,inherit)}
.ls.ls .ls-side table caption{white-space:nowrap}
.ls.ls table th,.ls.ls table td{border:1px solid var(--jp-border-color1,#bdbdbd);padding:3px 9px;\
text-align:left;vertical-align:top;white-space:normal}
.ls.ls table thead th{background:var(--jp-layout-color2,rgba(127,127,127,.14))}
.ls .mute{font-style:italic}
.ls.ls tr.ins>*{background:rgba(46,160,67,.16)}
.ls.ls tr.del>*{background:rgba(218,54,51,.16)}
.ls.ls tr.upd>*{background:rgba(191,135,0,.16)}
.ls ins{text-decoration:underline;font-weight:600}
.ls del{text-decoration:line-through}
.ls-box{border-left:4px solid;padding:6px 10px}
.ls-box.good{border-color:var(--jp-success-color1,#388e3c);background:rgba(46,160,67,.12)}
.ls-box.bad{border-color:var(--jp-error-color1,#d32f2f);background:rgba(218,54,51,.12)}
.ls-box.open{border-color:var(--jp-border-color0,#888);background:rgba(127,127,127,.1)}
.ls-box details{margin:4px 0 0}
.ls.ls-box pre{white-space:pre-wrap;margin:4px 0 4px 14px}
.ls .ls-bar{height:14px;margin:3px 0;background:var(--jp-brand-color1,#1976d2)}
</style>"""
