# SPDX-License-Identifier: Apache-2.0
"""
The station's page and its local REST interface (docs/reference/line-station.md).

view      what a station shows, as JSON
app       the routes: page, files, /v1
serving   the process: a rig's station, open, behind its page

station.html, station.css, *.js   the page; no build step, nothing from elsewhere
languages/*.json                  its words: one file per language
"""
