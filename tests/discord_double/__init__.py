"""Discord for tests: REST, gateway and CDN on one port of loopback, as far as a bot can tell.

async with DiscordDouble.open() as discord:
    guild = discord.guild("lab")
    channel = guild.text_channel("data")
    anna = guild.member("anna")
    ...  # a real bot is pointed at discord.api_url and discord.cdn_url, with discord.token
    await discord.ready()
    await channel.post(anna, "what is in it?", files={"a.csv": b"x\\n1\\n"}, mention_bot=True)
    answer = await channel.wait_for(lambda message: message.attachments)
    await anna.press(answer, "Show code")
"""

from tests.discord_double.channel import Channel
from tests.discord_double.guild import Guild
from tests.discord_double.interaction import Interaction, Modal
from tests.discord_double.message import Attachment, Message
from tests.discord_double.person import Person
from tests.discord_double.server import DiscordDouble
from tests.discord_double.uploads import Upload

__all__ = [
    "Attachment",
    "Channel",
    "DiscordDouble",
    "Guild",
    "Interaction",
    "Message",
    "Modal",
    "Person",
    "Upload",
]
