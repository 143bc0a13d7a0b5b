package world

// Abandon ends the room as a crash of its host does: nobody is told.
func (r *Room) Abandon() {
	r.mu.Lock()
	visitors := r.visitors
	r.visitors = nil
	r.mu.Unlock()
	for _, v := range visitors {
		v.end()
	}
	_ = r.Close()
}

// FillKept has the room take it that something is kept of so many players more than fit.
func (r *Room) FillKept() {
	filled := make(chan struct{})
	r.Do(func() { r.keep.players = mostKept; close(filled) })
	<-filled
}
