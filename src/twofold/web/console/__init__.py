"""The console: pages that show the shared look and send commands. NiceGUI, live.

`views` says what is shown (pure, tested), `drawing` how (pure, text of HTML, everything escaped),
`pages` connects both with a browser, and `acting` asks before it acts.
"""
