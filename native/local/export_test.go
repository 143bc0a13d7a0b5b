package local

// LimitFiles has the sockets of this package be at most n until the function
// returned is called.
func LimitFiles(n int) (restore func()) {
	before := files
	files = budget{make(chan struct{}, n)}
	return func() { files = before }
}

// FilesOpen is how many sockets are counted as open.
func FilesOpen() int { return len(files.slots) }
