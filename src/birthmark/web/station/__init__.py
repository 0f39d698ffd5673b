# SPDX-License-Identifier: Apache-2.0
"""
The station's page and its local REST interface (docs/reference/line-station.md).

view      what a station shows, as JSON
app       the routes: page, files, /v1
serving   the process: a rig's station, open, behind its page

numbers   the routes of yields, attempts and surroundings
station.html, station.css, *.js   the page; no build step, nothing from elsewhere
overview.html, overview.css, overview.js   the lead page
languages/*.json                  its words: one file per language
"""
