"""How clients come in: lines on our own stdin, or requests over HTTP in either era."""
