"""What `demo.py`, `serve.py` and the browser tests need to put the site on stage; the site itself needs none of it."""
