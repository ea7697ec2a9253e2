// ATAdapter
