"""The token viewer: responses, scores and cross-samples of a pair on a set of problems as one web page.

In: problems, vocabulary, rollouts, scores and cross-samples (schemas). Out: a page that opens from the file system, and
beside it, where all of it would make too large a file, a chunk of its data for each problem. The page itself,
page.html, is built from the sources in viewer/ at the project's root; here the data are put into it.
"""
