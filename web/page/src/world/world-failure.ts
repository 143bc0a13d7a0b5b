import { TomboloError } from '@tombolo/node'
import { failure, type Failure, type Words } from '../failures.js'

/** By the `reason` of a seat's error. */
const SEATING = new Map<string, Words>(
  Object.entries({
    full: { title: 'The world is full', advice: 'Try again when somebody has left it.' },
    banned: { title: 'The host of the world does not let this tab in', advice: 'Ask whoever holds it.' },
    version: {
      title: 'That is a world of another kind',
      advice: 'Its host runs another game, or another version of this one. Reload the page there and here.',
    },
    password: { title: 'The world has a password', advice: 'This page goes into worlds without one.' },
    busy: { title: 'The host cannot keep up with more players', advice: 'Try again in a moment.' },
    refused: { title: 'The host refused this boat', advice: 'Choose another name for it, and try again.' },
    kicked: { title: 'This tab was put out of the world', advice: 'Ask whoever holds it.' },
    replaced: { title: 'This peer has come in from elsewhere', advice: 'Sail on there, or come in here again.' },
    slow: {
      title: 'This tab was too slow for the world',
      advice: 'Come in again. If it happens often, close other tabs that are busy.',
    },
    closed: { title: 'The world has ended', advice: 'Its host has closed it. Hold one yourself, or choose another.' },
    moved: { title: 'The world has moved, and its new host cannot be reached', advice: 'Come in again in a moment.' },
  }),
)

/** Returns why a person could not join a world, or is no longer in it. */
export function worldFailure(error: unknown): Failure {
  const said = error instanceof TomboloError && error.reason !== undefined ? SEATING.get(error.reason) : undefined
  return failure(
    error,
    said ?? {
      title: 'The way into the world was lost',
      advice:
        'Its host may have gone, or is behind a relay that this tab does not reach. Try again, or hold a world yourself.',
    },
  )
}
