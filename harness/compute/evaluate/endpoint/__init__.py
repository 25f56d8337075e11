"""An OpenAI-compatible chat endpoint, asked for one completion at a time; answers and judges alike.

replies.py   bytes of a reply -> an answer, or a fault in the server's own words
refusals.py  what a refusal asks for: a shorter answer, a request without a parameter
patience.py  how long to wait before asking again, and when to give up
client.py    one completion: connections, time limits, bounded bodies, asked again where that may help
"""
