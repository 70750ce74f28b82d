package ai.bitexport

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn

/**
 * The events of an answer, computed while they are collected. Who stops collecting, or cancels the
 * coroutine, cancels the answer: nothing is computed afterwards but the step under way. The last
 * event of a flow that is collected to its end, and only that one, is END.
 *
 * One collector at a time, as with every answer of a session.
 */
fun Session.generateFlow(text: String, options: Options = Options()): Flow<Event> =
    events { generate(text, options) }

/** The same of an answer in a conversation. */
fun Session.chatFlow(messages: List<Message>, options: Options = Options()): Flow<Event> =
    events { chat(messages, options) }

fun Session.chatFlow(text: String, options: Options = Options()): Flow<Event> =
    chatFlow(listOf(Message.user(text)), options)

// Without a buffer: the session holds no token that nobody has seen.
private fun events(begin: () -> Answer): Flow<Event> =
    flow { begin().use { answer -> for (event in answer) emit(event) } }
        .buffer(Channel.RENDEZVOUS)
        .flowOn(Dispatchers.Default)
