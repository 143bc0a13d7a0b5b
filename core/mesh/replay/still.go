package replay

// StillMissing returns what is left of gaps: it leaves out those that the history has
// filled since, and shortens others.
func (h *History) StillMissing(gaps []Gap) []Gap {
	h.mu.Lock()
	defer h.mu.Unlock()
	var left []Gap
	seen := make(map[Gap]struct{}, len(gaps))
	for _, g := range gaps {
		rest := Ranges{{g.From, g.To}}
		if p := h.publishers[g.Publisher]; p != nil {
			rest = rest.minus(p.had(g.Epoch))
		}
		for _, r := range rest {
			g.From, g.To = r.From, r.To
			if _, twice := seen[g]; !twice { // two peers reported it
				seen[g] = struct{}{}
				left = append(left, g)
			}
		}
	}
	return left
}
