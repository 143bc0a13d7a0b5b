package world

// Abandon ends the room as if its host had crashed: no peer is notified.
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

// FillKept makes the room believe that it already keeps the largest number of players.
func (r *Room) FillKept() {
	filled := make(chan struct{})
	r.Do(func() { r.keep.players = mostKept; close(filled) })
	<-filled
}
