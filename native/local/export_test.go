package local

// LimitFiles limits the sockets of this package to n until the returned function is called.
func LimitFiles(n int) (restore func()) {
	before := files
	files = budget{make(chan struct{}, n)}
	return func() { files = before }
}

// FilesOpen returns how many sockets are counted as open.
func FilesOpen() int { return len(files.slots) }
