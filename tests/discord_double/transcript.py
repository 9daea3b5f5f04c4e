"""A channel as people see it, as text for developers to look at."""

from typing import TYPE_CHECKING, Any

from tests.discord_double.message_checks import media_names

if TYPE_CHECKING:
    from tests.discord_double.channel import Channel
    from tests.discord_double.message import Attachment, Message
    from tests.discord_double.person import Person

_STYLES = {1: "blue", 2: "grey", 3: "green", 4: "red", 5: "link"}


def transcript(channel: "Channel", viewer: "Person | None" = None) -> str:
    """All that was said, the oldest first; what only one person sees is marked.

    Args:
        channel: where.
        viewer: for whom; None shows everything to everyone.
    """
    name = channel.name or ", ".join(person.name for person in channel.recipients)
    parts = [f"━━ #{name} ━━"]
    for message in channel.all_messages:
        if viewer and message.ephemeral_for not in (None, viewer):
            continue
        parts.append(_message(message))
    return "\n\n".join(parts)


def _message(message: "Message") -> str:
    head = f"[{message.at:%H:%M:%S}] {message.author.name}{' BOT' if message.author.is_bot else ''}"
    if message.interaction and message.interaction.name:
        head += f" ← {message.interaction.person.name} used /{message.interaction.name}"
    if message.reply_to:
        head += f" ↪ {message.reply_to.author.name}: {_short(message.reply_to.content)}"
    marks = []
    if message.ephemeral_for:
        marks.append(f"only {message.ephemeral_for.name} sees this")
    if message.edits:
        marks.append(f"edited {len(message.edits)} times")
    if message.pings:
        marks.append(f"pings {', '.join(sorted(message.pings))}")
    if message.deleted:
        marks.append("deleted")
    if marks:
        head += f"  ({'; '.join(marks)})"
    lines = [head]
    if message.is_loading:
        lines.append("  … is thinking")
    lines += [f"  {line}" for line in message.content.splitlines()]
    for embed in message.embeds:
        lines += [f"  ┃ {line}" for line in _embed(embed)]
    shown = media_names(message.components) if message.is_v2 else None
    lines += [_attachment(a) for a in message.attachments if shown is None or a.filename in shown]
    if shown is not None:
        hidden = [a.filename for a in message.attachments if a.filename not in shown]
        lines += [f"  (attached, but not to be seen: {name})" for name in hidden]
    lines += [f"  {line}" for component in message.components for line in _component(component)]
    counts = {emoji: 0 for emoji, _ in message.reactions}
    for emoji, _ in message.reactions:
        counts[emoji] += 1
    if counts:
        lines.append("  " + "  ".join(f"{emoji} {count}" for emoji, count in counts.items()))
    if message.thread:
        lines.append(f"  ⤷ thread #{message.thread.name} ({len(message.thread.messages)} messages)")
    return "\n".join(lines)


def _attachment(attachment: "Attachment") -> str:
    alt = f' alt="{attachment.alt}"' if attachment.alt else ""
    kind = f", {attachment.content_type}" if attachment.content_type else ""
    return f"  📎 {attachment.filename} ({attachment.size} bytes{kind}){alt}"


def _embed(embed: dict[str, Any]) -> list[str]:
    texts = [embed.get("title"), embed.get("description")]
    texts += [f"{item['name']}: {item['value']}" for item in embed.get("fields") or ()]
    texts.append((embed.get("footer") or {}).get("text"))
    return [line for text in texts if text for line in text.splitlines()]


def _component(component: dict[str, Any]) -> list[str]:
    kind = component.get("type")
    children = component.get("components") or []
    if kind == 1:
        return ["  ".join(_control(child) for child in children)]
    if kind == 10:
        return list(component["content"].splitlines())
    if kind == 14:
        return ["────"]
    inner = [line for child in children for line in _component(child)]
    return [f"│ {line}" for line in inner] if kind == 17 else inner


def _control(component: dict[str, Any]) -> str:
    label = component.get("label") or (component.get("emoji") or {}).get("name", "")
    off = " (off)" if component.get("disabled") else ""
    if component["type"] == 2:
        style = _STYLES.get(component["style"], "")
        return f"[{label}]{{{style}}}{off}"
    options = ", ".join(option["label"] for option in component.get("options", ()))
    return f"⟨{component.get('placeholder') or 'choose'}: {options}⟩{off}"


def _short(text: str) -> str:
    line = text.replace("\n", " ")
    return line if len(line) <= 40 else f"{line[:39]}…"
