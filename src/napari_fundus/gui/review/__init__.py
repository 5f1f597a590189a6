"""Going through the lesions of a result one by one, correcting them, and keeping the corrections.

What is known of lesions, commands, queue, sessions and regions stands in files without Qt; the
widget puts them to work in a window.
"""
